/**
 * A decimal number taken apart, exact: no zeros in front of `whole`, none behind `fraction`; both empty for zero.
 * Its value is `sign × whole.fraction`.
 */
export interface Decimal {
  readonly sign: -1 | 0 | 1
  readonly whole: string
  readonly fraction: string
}

const PLAIN = /^([+-])?(\d+)(?:\.(\d*))?$/
const NUMERAL = /^([+-])?(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d{1,3}))?$/

/** A whole text as a decimal numeral (`12`, `-0.50`, `.5`, `1e-7`; exponents of at most three digits), or undefined. */
export function parseDecimal(text: string): Decimal | undefined {
  const plain = PLAIN.exec(text)
  if (plain !== null) return decimalOf(plain[1] === "-", plain[2] ?? "", plain[3] ?? "")
  const match = NUMERAL.exec(text)
  if (match === null) return undefined
  const whole = match[2] ?? ""
  const fraction = match[3] ?? match[4] ?? ""
  const exponent = Number(match[5] ?? 0)
  const digits = whole + fraction
  const point = whole.length + exponent
  if (point <= 0) return decimalOf(match[1] === "-", "", "0".repeat(-point) + digits)
  if (point >= digits.length) return decimalOf(match[1] === "-", digits + "0".repeat(point - digits.length), "")
  return decimalOf(match[1] === "-", digits.slice(0, point), digits.slice(point))
}

function decimalOf(negative: boolean, whole: string, fraction: string): Decimal {
  let start = 0
  while (start < whole.length && whole.charCodeAt(start) === 48) start += 1
  let end = fraction.length
  while (end > 0 && fraction.charCodeAt(end - 1) === 48) end -= 1
  const sign = start === whole.length && end === 0 ? 0 : negative ? -1 : 1
  return { sign, whole: whole.slice(start), fraction: fraction.slice(0, end) }
}

/** Below 0 when a < b, 0 when they are equal, above 0 when a > b. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  if (a.sign !== b.sign) return a.sign - b.sign
  const magnitude =
    a.whole.length - b.whole.length || compareText(a.whole, b.whole) || compareText(a.fraction, b.fraction)
  return a.sign < 0 ? -magnitude : magnitude
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The digits without an exponent: `-0.0000001`, `1000`. */
export function decimalText({ sign, whole, fraction }: Decimal): string {
  return `${sign < 0 ? "-" : ""}${whole === "" ? "0" : whole}${fraction === "" ? "" : `.${fraction}`}`
}

/** A finite number as the shortest decimal that reads back as the same number, written without an exponent. */
export function numberText(value: number): string {
  const text = String(value)
  if (!text.includes("e")) return text
  const decimal = parseDecimal(text)
  return decimal === undefined ? text : decimalText(decimal)
}
