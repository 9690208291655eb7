import { compareDecimals, numberText, parseDecimal } from "./decimal.ts"

/**
 * A numeral as a number where that loses no digit; as the text itself where it would, where `asText`, and where it is no numeral
 * (`NaN`).
 */
export function exactNumber(text: string, asText: boolean): number | string {
  if (asText) return text
  const value = Number(text)
  // Up to 15 digits pass through a double unchanged; the exponent is safe in numerals this short.
  if (text.length <= 15 && !Number.isNaN(value)) return value
  const [exact, rounded] = [parseDecimal(text), parseDecimal(numberText(value))]
  return exact !== undefined && rounded !== undefined && compareDecimals(exact, rounded) === 0 ? value : text
}

/** `JSON.parse`, but for numbers that would lose digits, at whatever depth: they become their own text. Throws `SyntaxError`. */
export function parseJsonExactly(text: string): unknown {
  if (!/\d[\d.]{15}|\d[eE]/.test(text)) return JSON.parse(text)
  const revive = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === "number" && context?.source !== undefined ? exactNumber(context.source, false) : value
  return JSON.parse(text, revive)
}
