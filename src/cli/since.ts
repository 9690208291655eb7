import { usageError } from "./errors.ts"

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** `30s`, `15m`, `1h`, `7d`, `2w` before `now`, or an ISO date or time (UTC where it names no zone). Throws `CONFIG`. */
export function sinceDate(text: string, now: number): Date {
  const span = /^(\d+)\s*([smhdw])$/.exec(text.trim())
  if (span !== null) return new Date(now - Number(span[1]) * (UNIT_MS[span[2] ?? ""] ?? 0))
  const zoned = /(?:Z|[+-]\d{2}:?\d{2})$/i.test(text) || !text.includes("T") ? text : `${text}Z`
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(zoned) : NaN
  if (!Number.isNaN(time)) return new Date(time)
  throw usageError(
    `--since ${JSON.stringify(text)} is neither a span nor a time`,
    "write 30s, 15m, 1h, 7d, or 2026-11-21, 2026-11-21T08:00Z",
  )
}
