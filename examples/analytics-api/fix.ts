// npx spillway replay-dlq --patch fix.ts#fix
import { discard, type Fix } from "spillway"

/** What this client calls a click since its last version. */
const WIGGLE = /^mouse_wiggle_\d+$/

/**
 * Mends what can be told from the rest of the event: a user by the session, a type by the properties. An event without a time that is true, and what is
 * no event at all, is given up, with the reason.
 */
export const fix: Fix = (record, { raw }) => {
  if (record === undefined) return discard(`no event: ${raw.slice(0, 40)}`)
  const { user_id, event, timestamp, properties, session_id } = record
  if (typeof timestamp !== "string" || !(Date.parse(timestamp) >= Date.UTC(2020))) return discard("nobody knows when")
  const user = typeof user_id === "string" && user_id.trim() !== "" ? user_id : session_id
  if (typeof user !== "string") return discard("neither a user nor a session")
  const type = typeof event === "string" && !WIGGLE.test(event) ? event : (typeBy(properties) ?? "click")
  return { ...record, user_id: user, event: type }
}

function typeBy(properties: unknown): string | undefined {
  if (typeof properties !== "object" || properties === null) return undefined
  if ("amount" in properties) return "purchase"
  return "path" in properties ? "page_view" : undefined
}
