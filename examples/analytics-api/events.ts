import { chance, pick, sequence, type Sequence } from "./chance.ts"

/** An event as it should end up in a table. */
export interface ValidEvent {
  readonly user_id: string
  readonly event_type: string
  /** ISO 8601, UTC, with milliseconds. */
  readonly timestamp: string
  readonly properties: Readonly<Record<string, string | number>>
  readonly session_id: string | null
}

/** An item of the list that the API gives out, and what is known of it. */
export interface Item {
  /** As it is sent. */
  readonly sent: unknown
  /** Where it stands in the list: milliseconds since 1970. */
  readonly at: number
  readonly truth: { readonly valid: ValidEvent } | { readonly bad: string }
}

export interface EventOptions {
  readonly seed: number
  /** Time of the first event, milliseconds since 1970. */
  readonly start: number
  /** Milliseconds between two events. */
  readonly interval: number
  /** Share of items that are malformed. */
  readonly malformedRate: number
}

/** Share of events that are sent twice, with another spelling. */
const AGAIN_RATE = 0.01
/** Share of events that come late, and by how much at most, in milliseconds. */
const LATE_RATE = 0.03
const LATEST = 5 * 60_000
/** Share of events that fall on the same instant as the one before. */
const SAME_TIME_RATE = 0.05
const OFFSET_RATE = 0.05
const USERS = 5_000
const HOUR = 3_600_000

/** The types, and how one and another client of this API spells them. */
const SPELLINGS: Readonly<Record<string, readonly string[]>> = {
  page_view: ["page_view", "page_view", "Page View", "page-view", "PAGE_VIEW", "pageview"],
  click: ["click", "click", "Click", "CLICK", " click "],
  sign_up: ["sign_up", "Sign Up", "sign-up", "signup", "SIGN_UP"],
  purchase: ["purchase", "purchase", "Purchase", "PURCHASE"],
  logout: ["logout", "Logout", "log_out", "Log Out", "log-out"],
}
const TYPES = ["page_view", "page_view", "page_view", "click", "click", "sign_up", "purchase", "logout"] as const

type Sent = Record<string, unknown>

/** What can be wrong with an item: how it is then sent. */
const DEFECTS: readonly (readonly [why: string, spoil: (sent: Sent, n: number) => unknown])[] = [
  ["the user is missing", ({ user_id: _, ...rest }) => rest],
  ["the user is null", (sent) => ({ ...sent, user_id: null })],
  ["the user is blank", (sent) => ({ ...sent, user_id: "  " })],
  ["the type is unknown", (sent, n) => ({ ...sent, event: `mouse_wiggle_${n % 3}` })],
  ["the type is missing", ({ event: _, ...rest }) => rest],
  ["before 2020", (sent, n) => ({ ...sent, timestamp: new Date(n * 1000).toISOString() })],
  ["the time is missing", ({ timestamp: _, ...rest }) => rest],
  ["the time is no time", (sent) => ({ ...sent, timestamp: "yesterday" })],
  ["not an object", (_, n) => `event ${n}`],
]

const spelled = (random: Sequence, type: string): string => pick(random, SPELLINGS[type] ?? [type])

function timeText(random: Sequence, at: number): string {
  if (!chance(random, OFFSET_RATE)) return new Date(at).toISOString()
  return `${new Date(at + 2 * HOUR).toISOString().slice(0, -1)}+02:00`
}

const asSent = (random: Sequence, event: ValidEvent, at: number): Sent => ({
  user_id: event.user_id,
  event: spelled(random, event.event_type),
  timestamp: timeText(random, at),
  properties: event.properties,
  session_id: event.session_id,
})

function propertiesOf(random: Sequence, type: string): ValidEvent["properties"] {
  if (type === "purchase") return { amount: Math.floor(random() * 20_000) / 100, currency: "EUR" }
  if (type === "page_view") return { path: pick(random, ["/", "/pricing", "/docs", "/blog"]) }
  return type === "click" ? { element: pick(random, ["buy", "menu", "search"]) } : {}
}

/** Makes events one after the other, always the same ones for the same options. */
export class EventMaker {
  readonly #options: EventOptions
  #made = 0
  /** The valid event before; `alone`: none before it has its time. */
  #before: { readonly event: ValidEvent; readonly at: number; readonly alone: boolean } | undefined

  constructor(options: EventOptions) {
    this.#options = options
  }

  /** Events made so far. */
  get made(): number {
    return this.#made
  }

  next(): Item {
    const { seed, malformedRate } = this.#options
    const n = this.#made++
    const random = sequence(seed, n)
    const before = this.#before
    if (before !== undefined && chance(random, AGAIN_RATE))
      return { sent: asSent(random, before.event, before.at), at: before.at, truth: { valid: before.event } }
    const { event, at, alone } = this.#event(random, n)
    const sent = asSent(random, event, at)
    if (chance(random, malformedRate)) {
      const [bad, spoil] = pick(random, DEFECTS)
      return { sent: spoil(sent, n), at, truth: { bad } }
    }
    this.#before = { event, at, alone }
    return { sent, at, truth: { valid: event } }
  }

  #event(random: Sequence, n: number): { event: ValidEvent; at: number; alone: boolean } {
    const { start, interval } = this.#options
    const together = chance(random, SAME_TIME_RATE) && this.#before?.alone ? this.#before : undefined
    const late = chance(random, LATE_RATE) ? Math.floor(random() * LATEST) : 0
    const at = together?.at ?? Math.max(start, start + n * interval - late)
    const others = together === undefined ? TYPES : TYPES.filter((type) => type !== together.event.event_type)
    const event_type = pick(random, others)
    const event = {
      user_id: together?.event.user_id ?? `u${1 + Math.floor(random() * USERS)}`,
      event_type,
      timestamp: new Date(at).toISOString(),
      properties: propertiesOf(random, event_type),
      session_id: chance(random, 0.1) ? null : `s${n.toString(36)}`,
    }
    return { event, at, alone: together === undefined }
  }
}
