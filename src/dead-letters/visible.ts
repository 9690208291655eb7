/** Control characters, line separators, and what turns the direction of writing: a terminal obeys them, and text can hide behind them. */
const UNSEEN = /[\p{Cc}\u2028\u2029\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu

/** Text from outside as a terminal may show it: ESC reads `␛`, a line feed `␊`, what has no picture `<U+202E>`. */
export const visible = (text: string): string => text.toWellFormed().replace(UNSEEN, pictured)

function pictured(character: string): string {
  const code = character.codePointAt(0) ?? 0
  if (code < 0x20) return String.fromCodePoint(0x2400 + code)
  if (code === 0x7f) return "␡"
  return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`
}
