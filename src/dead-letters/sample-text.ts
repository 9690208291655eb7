import { LETTER } from "./letter-facts.ts"
import type { ObjectScan } from "./object-scan.ts"

/** Longer letters are kept with what is long in them cut. */
const KEPT_WHOLE = 16 << 10
const LONGEST_TEXT = 200
const MOST_ITEMS = 100

/** A letter kept for showing, as text: a fraction of what it takes as an object. */
export class SampleText {
  /** The file and line that it was read from. */
  readonly place: string
  readonly #text: string

  private constructor(text: string, place: string) {
    this.#text = text
    this.place = place
  }

  static of(scan: ObjectScan, place: string): SampleText {
    const text = scan.bytes.toString("utf8", scan.start, scan.end)
    if (text.length <= KEPT_WHOLE) return new SampleText(text, place)
    return new SampleText(JSON.stringify(shortened(parsed(text) ?? remains(scan))), place)
  }

  get bytes(): number {
    return this.#text.length
  }

  letter(): Readonly<Record<string, unknown>> {
    const value = parsed(this.#text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : {}
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** What can be had of a letter that is not JSON after all. */
const remains = (scan: ObjectScan): unknown => ({
  error_code: scan.text(LETTER.error_code),
  error_msg: scan.text(LETTER.error_msg),
})

/** The same value without what is too long to be shown. */
function shortened(value: unknown): unknown {
  if (typeof value === "string")
    return value.length <= LONGEST_TEXT ? value : `${value.slice(0, LONGEST_TEXT).toWellFormed()}…`
  if (Array.isArray(value)) return value.slice(0, MOST_ITEMS).map(shortened)
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, MOST_ITEMS)
      .map(([key, inner]) => [key, shortened(inner)]),
  )
}
