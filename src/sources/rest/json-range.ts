const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const MARK = 0xef

/** Where in a JSON text the value at a path begins and ends. The text is known to be JSON and to have that value. */
export function valueRange(text: Buffer, path: readonly string[]): readonly [from: number, to: number] {
  let from = skipSpace(text, text[0] === MARK ? 3 : 0)
  let to = skipValue(text, from)
  for (const key of path) [from, to] = memberRange(text, from, key)
  return [from, to]
}

/** Of several members with the same key the last one counts, as in the parser. */
function memberRange(text: Buffer, object: number, key: string): readonly [number, number] {
  let found: readonly [number, number] = [object, object]
  for (let at = skipSpace(text, object + 1); text[at] !== CLOSE_OBJECT && at < text.length;) {
    const keyEnd = skipString(text, at)
    const name: unknown = JSON.parse(text.toString("utf8", at, keyEnd))
    // Behind the colon.
    const from = skipSpace(text, skipSpace(text, keyEnd) + 1)
    const to = skipValue(text, from)
    if (name === key) found = [from, to]
    at = skipSpace(text, to)
    if (text[at] === COMMA) at = skipSpace(text, at + 1)
  }
  return found
}

function skipValue(text: Buffer, from: number): number {
  const first = text[from]
  if (first === QUOTE) return skipString(text, from)
  if (first !== OPEN_OBJECT && first !== OPEN_LIST) return skipWord(text, from)
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const byte = text[at]
    if (byte === QUOTE) at = skipString(text, at) - 1
    else if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth++
    else if ((byte === CLOSE_OBJECT || byte === CLOSE_LIST) && --depth === 0) return at + 1
  }
  return text.length
}

function skipString(text: Buffer, from: number): number {
  let at = from + 1
  while (at < text.length && text[at] !== QUOTE) at += text[at] === BACKSLASH ? 2 : 1
  return at + 1
}

function skipWord(text: Buffer, from: number): number {
  let at = from
  while (at < text.length && !isEnd(text[at] as number)) at++
  return at
}

const isEnd = (byte: number): boolean => byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_LIST || byte <= 0x20

function skipSpace(text: Buffer, from: number): number {
  let at = from
  while (at < text.length && (text[at] as number) <= 0x20) at++
  return at
}
