import { SpillwayError, type ErrorCode } from "../core/errors.ts"

/** Failures that are expected for a while: counted and told, not raised. */
export interface SuppressionRule {
  /** The whole address, `*` standing for any characters: `https://api.example.com/old/*`. */
  readonly pattern: string
  /** Answers that are expected. One of `status` and `code` must be given. */
  readonly status?: number | readonly number[] | undefined
  readonly code?: ErrorCode | readonly ErrorCode[] | undefined
  /** Why they are expected. */
  readonly reason: string
  /** ISO 8601. A date without a time lasts to its end, UTC. */
  readonly expires: string
}

export type SuppressionVerdict =
  | { readonly suppressed: true; readonly rule: SuppressionRule }
  /** `expired`: the rule that would have applied once. */
  | { readonly suppressed: false; readonly expired: SuppressionRule | undefined }

/** Suppressed failures of one rule. */
export interface SuppressionCount {
  readonly rule: SuppressionRule
  readonly suppressed: number
  /** Failures raised only because the rule has expired. */
  readonly expired: number
}

export interface Suppressions {
  /** Judges a failure and counts it. `now` in milliseconds since the epoch. */
  judge(address: URL, error: SpillwayError, now: number): SuppressionVerdict
  readonly counts: readonly SuppressionCount[]
}

interface Compiled {
  readonly rule: SuppressionRule
  readonly matches: (address: string, error: SpillwayError) => boolean
  readonly expiresAt: number
  suppressed: number
  expired: number
}

/** Throws `CONFIG` with every fault of every rule. */
export function suppressions(rules: readonly SuppressionRule[]): Suppressions {
  const faults = rules.flatMap((rule, index) => faultsOf(rule).map((fault) => `rule ${index + 1}: ${fault}`))
  if (faults.length > 0)
    throw new SpillwayError("CONFIG", `the suppression rules have faults: ${faults.join("; ")}`, {
      where: "suppress",
      hint: 'a rule reads { pattern: "https://host/path*", status: 404, reason: "…", expires: "2026-12-31" }',
    })
  const compiled = rules.map(compile)
  return {
    judge(address, error, now) {
      if (error.class === "cancelled") return { suppressed: false, expired: undefined }
      const text = bareAddress(address)
      const matching = compiled.filter(({ matches }) => matches(text, error))
      const live = matching.find(({ expiresAt }) => now < expiresAt)
      if (live !== undefined) {
        live.suppressed += 1
        return { suppressed: true, rule: live.rule }
      }
      const [expired] = matching
      if (expired !== undefined) expired.expired += 1
      return { suppressed: false, expired: expired?.rule }
    },
    get counts() {
      return compiled.map(({ rule, suppressed, expired }) => ({ rule, suppressed, expired }))
    },
  }
}

const DATE_ONLY = /^\d{4}-\d{2}-\d{2}$/
const DAY_MS = 86_400_000

const expiryOf = (text: string): number => Date.parse(text) + (DATE_ONLY.test(text) ? DAY_MS : 0)

function faultsOf(rule: SuppressionRule): string[] {
  const faults: string[] = []
  if (rule.pattern.trim() === "") faults.push("pattern is empty")
  if (rule.status === undefined && rule.code === undefined) faults.push("neither status nor code is given")
  if (rule.reason.trim() === "") faults.push("reason is empty")
  if (Number.isNaN(expiryOf(rule.expires))) faults.push(`expires ${JSON.stringify(rule.expires)} is not a date`)
  return faults
}

function compile(rule: SuppressionRule): Compiled {
  const parts = rule.pattern.split("*")
  const statuses = rule.status === undefined ? [] : [rule.status].flat()
  const codes = rule.code === undefined ? [] : [rule.code].flat()
  const matches = (address: string, error: SpillwayError): boolean =>
    matchesParts(address, parts) &&
    (codes.includes(error.code) || statuses.some((status) => error.context["status"] === status))
  return { rule, matches, expiresAt: expiryOf(rule.expires), suppressed: 0, expired: 0 }
}

/** Whether `text` is the parts in order with anything between them. Takes time in proportion to the text, whatever the pattern. */
function matchesParts(text: string, parts: readonly string[]): boolean {
  const first = parts[0] ?? ""
  const last = parts.at(-1) ?? ""
  if (parts.length === 1) return text === first
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false
  const middle = text.slice(first.length, text.length - last.length)
  let from = 0
  for (const part of parts.slice(1, -1)) {
    const at = middle.indexOf(part, from)
    if (at < 0) return false
    from = at + part.length
  }
  return true
}

function bareAddress(address: URL): string {
  const bare = new URL(address)
  bare.username = ""
  bare.password = ""
  bare.hash = ""
  return bare.href
}
