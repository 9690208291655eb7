import { WORD } from "./json-skip.ts"
import type { ObjectScan } from "./object-scan.ts"

const MINUTE_MS = 60_000
/** Epoch figures below this are seconds, above it milliseconds (the year 2286, and the month of April 1970). */
const SECONDS_BELOW = 10_000_000_000

/** `2026-11-21T14:05`, four bytes at a time. */
const MINUTE_WORDS = 4

/** Reads the times of letters. Most letters of one file lie in the same minute, whose time is kept. */
export class LetterTimes {
  readonly #minute = new Int32Array(MINUTE_WORDS)
  #minuteMs = NaN

  /** Milliseconds since the epoch of an ISO time or an epoch figure; undefined where there is no time. Without a zone it is UTC. */
  read(scan: ObjectScan, key: number): number | undefined {
    const from = scan.from(key)
    if (from < 0) return undefined
    if (!scan.isText(key)) return ofValue(scan.value(key))
    return this.#iso(scan, from + 1, scan.to(key) - 1) ?? ofValue(scan.text(key))
  }

  /** `2026-11-21T14:05:13.123Z`, and the same without a fraction; undefined for all else. */
  #iso({ bytes, view }: ObjectScan, from: number, to: number): number | undefined {
    const length = to - from
    if ((length !== 24 && length !== 20) || bytes[to - 1] !== 0x5a || bytes[from + 10] !== 0x54) return undefined
    if (!this.#isSameMinute(view, from)) {
      const ms = Date.parse(`${bytes.toString("latin1", from, from + 16)}Z`)
      if (Number.isNaN(ms)) return undefined
      for (let n = 0; n < MINUTE_WORDS; n++) this.#minute[n] = view.getInt32(from + n * WORD)
      this.#minuteMs = ms
    }
    const ms = digits(bytes, from + 17, 2) * 1_000 + (length === 24 ? digits(bytes, from + 20, 3) : 0)
    return ms < MINUTE_MS ? this.#minuteMs + ms : undefined
  }

  #isSameMinute(view: DataView, from: number): boolean {
    for (let n = 0; n < MINUTE_WORDS; n++) if (view.getInt32(from + n * WORD) !== this.#minute[n]) return false
    return true
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

/** The years 1 to 9999: what an ISO time and the database have in common. */
const FIRST_MS = Date.UTC(2000, 0, 1) - 730_119 * 86_400_000
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

function ofValue(value: unknown): number | undefined {
  const time = typeof value === "number" ? value * (value < SECONDS_BELOW ? 1_000 : 1) : ofText(value)
  return time >= FIRST_MS && time <= LAST_MS ? time : undefined
}

function ofText(value: unknown): number {
  if (typeof value !== "string" || !/^\d{4}-\d{2}-\d{2}/.test(value)) return NaN
  const zoned = /(?:Z|[+-]\d{2}:?\d{2})$/i.test(value) || !/\d:\d{2}/.test(value) ? value : `${value}Z`
  return Date.parse(zoned)
}
