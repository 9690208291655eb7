import { decimalText } from "../core/decimal.ts"
import { redact } from "../core/secrets.ts"
import type { InferredField } from "./infer-type.ts"

const LONGEST_SHOWN = 32

/** What was seen of a field, for people: how often it is absent, from where to where it ranges, examples. One line. */
export function wordsFor(field: InferredField, whole: number, hidden: boolean): string {
  const { evidence, type } = field
  const { count, nulls, numbers, lengths, times, untyped } = evidence
  const words: string[] = []
  if (count === 0) words.push("never a value: text is a guess")
  else {
    if (nulls > 0) words.push(`${share(nulls, whole)} ${untyped ? "blank" : "null"}`)
    const absent = whole - count - nulls
    if (absent > 0) words.push(`${share(absent, whole)} absent`)
  }
  if (hidden) return [...words, "looks secret: nothing of it is shown"].join("; ")
  switch (type.is) {
    case "integer":
    case "long-integer":
    case "decimal":
    case "decimal-text":
    case "number":
      if (numbers !== undefined) {
        words.push(`${decimalText(numbers.least)} to ${decimalText(numbers.most)}`)
        if (numbers.scale > 0)
          words.push(`up to ${numbers.scale} ${numbers.scale === 1 ? "digit" : "digits"} behind the point`)
      }
      break
    case "date":
    case "time":
      if (times !== undefined) words.push(`${times.first} to ${times.last}`)
      if (type.is === "time" && !type.zoneInText) words.push("the text names no zone: UTC is a guess")
      break
    case "text":
      if (lengths !== undefined && count > 0) {
        const { least, most } = lengths
        words.push(
          least === most ? `${most} ${most === 1 ? "character" : "characters"}` : `${least} to ${most} characters`,
        )
        if (evidence.allDigits) words.push("digits that are no number as they stand")
        const shown = evidence.samples.map(shownText)
        if (shown.length > 0) words.push(`such as ${shown.join(", ")}`)
      }
      break
    case "either":
    case "anything":
      words.push("values of several types: name its column in columns")
      break
    case "enum":
      words.push(`${type.values.length} ${type.values.length === 1 ? "value" : "values"}: any other would be refused`)
      break
    case "boolean":
    case "object":
    case "list":
    case "map":
      break
  }
  return words.join("; ")
}

/** A value in quotes, on one line, cut short, without registered secrets. */
const shownText = (text: string): string =>
  quoted(redact(text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…`.toWellFormed() : text))

/** As a string literal of TypeScript and JSON that stays on one line, in comments too. */
export const quoted = (text: string): string =>
  JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )

function share(part: number, whole: number): string {
  const percent = (part / whole) * 100
  if (percent < 0.1) return "< 0.1 %"
  return `${part < whole && percent > 99.9 ? "> 99.9" : String(Number(percent.toFixed(1)))} %`
}
