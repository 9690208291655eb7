import { seededRandom, type Random } from "../../src/core/random.ts"

/** Draws from one seed: the same seed gives the same record. */
export class Draw {
  readonly #random: Random

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  below(n: number): number {
    return Math.floor(this.#random.next() * n)
  }

  chance(share: number): boolean {
    return this.#random.next() < share
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }

  /** Up to `most` of these, joined. */
  text(parts: readonly string[], most: number): string {
    let text = ""
    for (let n = this.below(most + 1); n > 0; n--) text += this.of(parts)
    return text
  }
}

type Values = (draw: Draw) => string

const DIGITS = ["0", "0", "1", "2", "5", "9"]
const LETTERS = [
  "a",
  "b",
  "Z",
  "7",
  " ",
  "-",
  "é",
  "日",
  "😀",
  ",",
  '"',
  "\\",
  "\t",
  "\n",
  "\r",
  "'",
  "\u007f",
  "\u0001",
]
const PLAIN = ["a", "b", "c", "X", "7", " ", "-"]

const whole: Values = (draw) => `${draw.chance(0.2) ? "-" : ""}${draw.text(DIGITS, draw.chance(0.1) ? 20 : 4)}`
const numeral: Values = (draw) => {
  const fraction = draw.chance(0.6) ? `.${draw.text(DIGITS, draw.chance(0.1) ? 18 : 3)}` : ""
  const exponent = draw.chance(0.05) ? `e${draw.of(["5", "-3", "400", "+2"])}` : ""
  return whole(draw) + fraction + exponent
}
const day: Values = (draw) => {
  const two = (n: number): string => String(n).padStart(2, "0")
  const year = draw.of(["2024", "2023", "2000", "1900", "0001", "0000", "9999", "202"])
  return `${year}-${two(draw.below(14))}-${two(draw.below(33))}`
}
const moment: Values = (draw) => {
  const two = (n: number): string => String(n).padStart(2, "0")
  const time = `${two(draw.below(25))}:${two(draw.below(61))}${draw.chance(0.9) ? `:${two(draw.below(61))}` : ""}`
  const fraction = draw.chance(0.2) ? `.${draw.text(DIGITS, 8)}` : ""
  return day(draw) + draw.of(["T", "T", " ", "t"]) + time + fraction + draw.of(["Z", "Z", "", "+01:00", " Z"])
}

/** Values that come near to what a kind of property takes. */
export const VALUES = {
  numeral,
  whole,
  day: (draw) => (draw.chance(0.9) ? day(draw) : moment(draw)),
  moment: (draw) => (draw.chance(0.9) ? moment(draw) : day(draw)),
  text: (draw) => draw.text(draw.chance(0.7) ? PLAIN : LETTERS, 6),
  word: (draw) => draw.of(["new", "paid", "two words", "a,b", 'say "x"', "über", "New", "paid ", "lost", "", "new"]),
  code: (draw) => {
    if (draw.chance(0.2)) return draw.of(["my color", "colour", "gray", "grey area", "gr", "AB"])
    return `${draw.of(["AB", "AB", "XY", "A", "ab"])}-${draw.chance(0.8) ? draw.of(["123", "0042", "99999"]) : draw.text(DIGITS, 7)}`
  },
  identifier: (draw) =>
    `0b6e4c3${draw.of(["a", "F", "9", "g"])}-1c2d-4e3f-8a9b-${draw.chance(0.2) ? draw.text(["0", "12"], 2) : ""}c1d2e3f4a5${draw.of(["b6", "B6", "b"])}`,
  flag: (draw) => draw.of(["true", "false", "TRUE", "False", "t", "1", "true", "truest"]),
} satisfies Record<string, Values>

export type ValueName = keyof typeof VALUES

const ODD = ["", "", " ", "null", "NaN", "0x1", "+7", "-0", "-0.0", "1_0", "12abc", "\\N", "é", "\ufeff", "constructor"]

const valueOf = (draw: Draw, name: ValueName): string => (draw.chance(0.06) ? draw.of(ODD) : VALUES[name](draw))

/** A row of a CSV: fields quoted where they must be, sometimes where they need not, seldom malformed. */
export function csvRow(seed: number, properties: readonly ValueName[]): string {
  const draw = new Draw(seed)
  const fields = properties.map((name) => {
    const value = valueOf(draw, name)
    if (draw.chance(0.004)) return `"${value}`
    return /[",\n\r]/.test(value) || draw.chance(0.08) ? `"${value.replaceAll('"', '""')}"` : value
  })
  if (draw.chance(0.01)) fields.push("surplus")
  return fields.join(",") + draw.of(["\n", "\n", "\n", "\n", "\n", "\n", "\n", "\r\n"])
}

const BARE = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?|true|false|null)$/

/** A line of JSON: an object as programs write it, sometimes with other spaces, another order, names twice or missing. */
export function jsonRow(seed: number, properties: readonly ValueName[]): string {
  const draw = new Draw(seed)
  const space = draw.chance(0.3) ? " " : ""
  const members = properties.flatMap((name, n) => {
    if (draw.chance(0.04)) return []
    const value = valueOf(draw, name)
    const json = draw.chance(0.03) ? "null" : BARE.test(value) && draw.chance(0.9) ? value : JSON.stringify(value)
    return [`"p${n}":${space}${json}`]
  })
  if (draw.chance(0.02)) members.reverse()
  if (draw.chance(0.01)) members.push(members[0] ?? '"extra":1')
  if (draw.chance(0.01)) members.push('"extra": {"a": [1]}', '"__proto__": 1')
  if (draw.chance(0.005)) members.push("")
  return `{${members.join(`,${space}`)}}${draw.of(["\n", "\n", "\n", "\n", " \n", "\r\n"])}`
}
