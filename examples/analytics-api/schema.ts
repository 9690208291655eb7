import { timestamp } from "spillway/schema"
import { z } from "zod"

export const EVENT_TYPES = ["page_view", "click", "sign_up", "purchase", "logout"] as const

/** Types that clients write otherwise, once letters are small and blanks are `_`. */
const ALSO_WRITTEN: Readonly<Record<string, string>> = { pageview: "page_view", signup: "sign_up", log_out: "logout" }

/** `Page View`, `page-view` and `pageview` are the same type: `page_view`. */
export function normalised(type: string): string {
  const written = type
    .trim()
    .toLowerCase()
    .replaceAll(/[\s-]+/g, "_")
  return ALSO_WRITTEN[written] ?? written
}

/** An event of the API, with its type under the name that the table has for it. */
export const AnalyticsEvent = z.object({
  user_id: z.string().trim().min(1),
  event_type: z.enum(EVENT_TYPES),
  timestamp: timestamp({ zone: "in text" }),
  properties: z.record(z.string(), z.unknown()),
  session_id: z.string().nullable(),
})
