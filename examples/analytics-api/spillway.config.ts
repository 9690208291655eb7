import { passRate, pipeline, project, range, table, type RecordObject } from "spillway"
import { bearer, env, pageNumber, rest } from "spillway/sources"
import { AnalyticsEvent, normalised } from "./schema.ts"
import { analyticsApi } from "./server.ts"

const { url, since } = await analyticsApi()

/** The API says `event`, the table `event_type`. */
function prepare({ event, ...rest }: RecordObject): RecordObject {
  return { ...rest, event_type: typeof event === "string" ? normalised(event) : event }
}

const events = pipeline({
  name: "analytics_events",
  source: rest({
    url: `${url}/analytics`,
    name: "analytics",
    auth: bearer(env("ANALYTICS_TOKEN")),
    paginate: pageNumber({ param: "page", sizeParam: "per_page", size: 100, more: "has_more" }),
    items: "items",
    incremental: { cursor: "timestamp", param: "since", endParam: "until", start: since, lag: "10 minutes", by: "day" },
    http: { headersTimeout: 500, retry: { attempts: 6, baseDelay: 50, throttledBaseDelay: 200 } },
  }),
  prepare,
  schema: AnalyticsEvent,
  checks: [range("timestamp", { min: "2020-01-01" }, { level: "record" }), passRate(0.95)],
  sink: table("analytics.events", { key: ["user_id", "timestamp", "event_type"] }),
  schedule: "5 * * * *",
})

export default project({ pipelines: [events] })
