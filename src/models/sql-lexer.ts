/** What a stretch of SQL is; white space is none of them. */
export type SqlTokenKind =
  | "word"
  | "number"
  | "string"
  | "quoted identifier"
  | "dollar quote"
  | "comment"
  | "placeholder"
  | "parameter"
  | "symbol"

export interface SqlToken {
  readonly kind: SqlTokenKind
  readonly text: string
  /** Offset of its first character. */
  readonly start: number
  /** Offset behind its last character. */
  readonly end: number
  /** False when a quote, comment or placeholder runs to the end of the text without its closing. */
  readonly closed: boolean
}

const SPACE = /[ \t\n\r\f\v]+/y
// A `$` belongs to a word in PostgreSQL, but here `${` begins a placeholder.
const WORD = /[A-Za-z_\u0080-\u{10ffff}](?:[\w\u0080-\u{10ffff}]|\$(?!\{))*/uy
const NUMBER = /\d(?:[\w.\u0080-\u{10ffff}]|(?<=[eE])[+-](?=\d))*/uy
const STRING = /'(?:[^']+|'')*('?)/y
const ESCAPE_STRING = /'(?:[^'\\]+|''|\\[^])*('?)/y
const QUOTED_IDENTIFIER = /"(?:[^"]+|"")*("?)/y
const DOLLAR_QUOTE = /\$(?:[A-Za-z_\u0080-\u{10ffff}][\w\u0080-\u{10ffff}]*)?\$/uy
const PARAMETER = /\$\d+/y
const PLACEHOLDER = /\$\{[^}]*(\}?)/y
const LINE_COMMENT = /--[^\n\r]*/y
/** Between two parts of one string there may be white space with a line end in it, and line comments. */
const CONTINUATION = /(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*(?=')/y

/** PostgreSQL's tokens (with `standard_conforming_strings` on, its default) and placeholders `${…}`, as far as it matters where quotes and comments end. */
export function lexSql(text: string): SqlToken[] {
  const tokens: SqlToken[] = []
  let at = 0
  // Where the next part of an E'…' string begins: it has the escapes of the first, as a string of its own it had none.
  let continued = -1
  while (at < text.length) {
    const space = lengthOf(SPACE, text, at)
    if (space > 0) {
      at += space
      continue
    }
    const escapes = at === continued || /^[eE]'/.test(text.slice(at, at + 2))
    const token = escapes ? escapeString(text, at) : tokenAt(text, at)
    tokens.push(token)
    at = token.end
    const gap = escapes ? lengthOf(CONTINUATION, text, at) : 0
    if (gap > 0) continued = at + gap
  }
  return tokens
}

function tokenAt(text: string, start: number): SqlToken {
  const token = (kind: SqlTokenKind, length: number, closed = true): SqlToken => {
    const end = start + length
    return { kind, text: text.slice(start, end), start, end, closed }
  }
  const quoted = (kind: SqlTokenKind, pattern: RegExp): SqlToken => {
    const match = matchAt(pattern, text, start)
    return token(kind, match?.[0].length ?? 0, match?.[1] !== "")
  }
  const first = text.charAt(start)
  const two = text.slice(start, start + 2)
  if (first === "'") return quoted("string", STRING)
  if (first === '"') return quoted("quoted identifier", QUOTED_IDENTIFIER)
  if (two === "--") return token("comment", lengthOf(LINE_COMMENT, text, start))
  if (two === "/*") return blockComment(text, start)
  if (two === "${") return quoted("placeholder", PLACEHOLDER)
  if (first === "$") return dollarToken(text, start)
  const word = lengthOf(WORD, text, start)
  if (word > 0) return token("word", word)
  const number = lengthOf(NUMBER, text, start)
  return number > 0 ? token("number", number) : token("symbol", 1)
}

function dollarToken(text: string, start: number): SqlToken {
  const token = (kind: SqlTokenKind, end: number, closed = true): SqlToken => ({
    kind,
    text: text.slice(start, end),
    start,
    end,
    closed,
  })
  const parameter = lengthOf(PARAMETER, text, start)
  if (parameter > 0) return token("parameter", start + parameter)
  const delimiter = matchAt(DOLLAR_QUOTE, text, start)?.[0]
  if (delimiter === undefined) return token("symbol", start + 1)
  const close = text.indexOf(delimiter, start + delimiter.length)
  return close < 0 ? token("dollar quote", text.length, false) : token("dollar quote", close + delimiter.length)
}

/** `E'…'`, or a part behind it without the `E`. */
function escapeString(text: string, start: number): SqlToken {
  const quote = text.indexOf("'", start)
  const match = matchAt(ESCAPE_STRING, text, quote)
  const end = quote + (match?.[0].length ?? 0)
  return { kind: "string", text: text.slice(start, end), start, end, closed: match?.[1] !== "" }
}

function blockComment(text: string, start: number): SqlToken {
  let depth = 0
  let end = start
  do {
    const two = text.slice(end, end + 2)
    if (two === "/*") depth += 1
    if (two === "*/") depth -= 1
    end += two === "/*" || two === "*/" ? 2 : 1
  } while (depth > 0 && end < text.length)
  return { kind: "comment", text: text.slice(start, end), start, end, closed: depth === 0 }
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

const lengthOf = (pattern: RegExp, text: string, at: number): number => matchAt(pattern, text, at)?.[0].length ?? 0
