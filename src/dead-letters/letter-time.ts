import type { ObjectScan } from "./object-scan.ts"

const MINUTE_MS = 60_000
/** Epoch figures below this are seconds, above it milliseconds (the year 2286, and the month of April 1970). */
const SECONDS_BELOW = 10_000_000_000

/** Reads the times of letters. Most letters of one file lie in the same minute, whose time is kept. */
export class LetterTimes {
  #minute = -1
  #minuteMs = 0

  /** Milliseconds since the epoch of an ISO time or an epoch figure; undefined where there is no time. Without a zone it is UTC. */
  read(scan: ObjectScan, key: number): number | undefined {
    const from = scan.from(key)
    if (from < 0) return undefined
    if (!scan.isText(key)) return ofValue(scan.value(key))
    return this.#iso(scan.bytes, from + 1, scan.to(key) - 1) ?? ofValue(scan.text(key))
  }

  /** `2026-11-21T14:05:13.123Z`, and the same without a fraction; undefined for all else. */
  #iso(bytes: Buffer, from: number, to: number): number | undefined {
    const length = to - from
    if ((length !== 24 && length !== 20) || bytes[to - 1] !== 0x5a || bytes[from + 10] !== 0x54) return undefined
    const minute =
      digits(bytes, from, 4) * 100_000_000 +
      digits(bytes, from + 5, 2) * 1_000_000 +
      digits(bytes, from + 8, 2) * 10_000 +
      digits(bytes, from + 11, 2) * 100 +
      digits(bytes, from + 14, 2)
    if (Number.isNaN(minute)) return undefined
    if (minute !== this.#minute) {
      const ms = Date.parse(`${bytes.toString("latin1", from, from + 16)}Z`)
      if (Number.isNaN(ms)) return undefined
      this.#minute = minute
      this.#minuteMs = ms
    }
    const ms = digits(bytes, from + 17, 2) * 1_000 + (length === 24 ? digits(bytes, from + 20, 3) : 0)
    return ms < MINUTE_MS ? this.#minuteMs + ms : undefined
  }
}

/** The number that `count` digits make; NaN where there is something else. */
function digits(bytes: Buffer, from: number, count: number): number {
  let number = 0
  for (let at = from; at < from + count; at++) {
    const digit = (bytes[at] as number) - 0x30
    if (digit < 0 || digit > 9) return NaN
    number = number * 10 + digit
  }
  return number
}

function ofValue(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value * (value < SECONDS_BELOW ? 1_000 : 1) : undefined
  if (typeof value !== "string" || !/^\d{4}-\d{2}-\d{2}/.test(value)) return undefined
  const zoned = /(?:Z|[+-]\d{2}:?\d{2})$/i.test(value) || !/\d:\d{2}/.test(value) ? value : `${value}Z`
  const time = Date.parse(zoned)
  return Number.isNaN(time) ? undefined : time
}
