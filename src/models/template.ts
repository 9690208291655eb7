import { SpillwayError } from "../core/errors.ts"
import { lexSql, type SqlToken } from "./sql-lexer.ts"

/** What can stand for a placeholder; lists become PostgreSQL arrays. */
export type SqlValue =
  string | number | bigint | boolean | null | readonly (string | number | bigint | boolean | null)[]

/** Values by placeholder (`partition.start`, `params.country`); undefined where there is none. */
export type SqlValues = Readonly<Record<string, SqlValue | undefined>>

/** A query with its values beside it, as the driver takes it. */
export interface BoundSql {
  readonly text: string
  readonly values: readonly SqlValue[]
}

/** One query, checked, whose placeholders are parameters. */
export interface SqlTemplate {
  /** As it was written. */
  readonly text: string
  /** The file or model it was written in. */
  readonly where: string
  /** The placeholders in it, each once, in order of appearance. Those in comments do not count. */
  names(): ReadonlySet<string>
  /**
   * The query with `$1`, `$2` … for its placeholders. It ends with its last token (no `;`, no comment behind it), so it
   * can be put in parentheses. Throws `CONFIG` for a placeholder without a value.
   */
  bind(values: SqlValues): BoundSql
}

const KNOWN: ReadonlySet<string> = new Set([
  "partition.key",
  "partition.start",
  "partition.end",
  "partition.year",
  "partition.month",
  "run.id",
])
const PARAMS = /^params\.[A-Za-z_]\w*$/
const KNOWN_HINT = `the placeholders are ${[...KNOWN, "params.NAME"].map((name) => `\${${name}}`).join(", ")}`

/** Whole numbers, which PostgreSQL would take for text in a select list. */
const INTEGERS: ReadonlySet<string> = new Set(["partition.year", "partition.month"])
/**
 * A parameter has one type, that of its first place: as a `date` it would lose its zone, and a `timestamptz` made of that
 * begins at the session's midnight. So each place gets a parameter of its own.
 */
const TYPED_BY_PLACE: ReadonlySet<string> = new Set(["partition.start", "partition.end"])

const QUERY_WORDS: ReadonlySet<string> = new Set(["select", "with", "values", "table"])
const WRITE_WORDS: ReadonlySet<string> = new Set(["insert", "update", "delete", "merge"])

interface Place {
  readonly name: string
  readonly start: number
  readonly end: number
}

/**
 * Reads a model's query. `where` names its file or model in errors.
 *
 * Throws `CONFIG` with the line for: an empty text, more than one statement, one that is not a query, an unclosed quote,
 * comment or parenthesis, an unknown placeholder, one in quotes or glued to a name, and parameters written as `$1`.
 */
export function sqlTemplate(text: string, where: string): SqlTemplate {
  const refuse: Refuse = (message, hint, at) => {
    throw new SpillwayError("CONFIG", message, {
      hint,
      where: at === undefined ? where : `${where}:${lineOf(text, at)}`,
    })
  }
  if (text.includes("\0")) refuse("the SQL contains a NUL character", "remove it", text.indexOf("\0"))
  const tokens = lexSql(text)
  for (const token of tokens) checkToken(token, text, refuse)
  const statement = onlyStatement(
    tokens.filter((token) => token.kind !== "comment"),
    refuse,
  )
  checkQuery(statement, refuse)
  const places = statement.filter((token) => token.kind === "placeholder").map(placeOf)
  const names = new Set(places.map((place) => place.name))
  const end = statement.at(-1)?.end ?? 0
  return { text, where, names: () => names, bind: (values) => bind(text.slice(0, end), places, values, where) }
}

type Refuse = (message: string, hint: string, at?: number) => never

const placeOf = ({ text, start, end }: SqlToken): Place => ({ name: text.slice(2, -1).trim(), start, end })

function checkToken(token: SqlToken, text: string, refuse: Refuse): void {
  const { kind, start, end } = token
  if (!token.closed) refuse(`the SQL has a ${kind} that is not closed`, "close it", start)
  if (kind === "parameter")
    refuse(
      `the SQL has the parameter ${token.text}, which nothing stands for`,
      "name the value: ${partition.start}, ${params.NAME}",
      start,
    )
  if (kind === "string" || kind === "quoted identifier" || kind === "dollar quote") {
    const inside = /\$\{[^}]*\}/.exec(token.text)
    if (inside !== null)
      refuse(
        `the placeholder ${inside[0]} is inside a ${kind}`,
        `write ${inside[0]} without quotes: it is a value, not text that is pasted`,
        start + inside.index,
      )
  }
  if (kind === "placeholder") {
    const name = token.text.slice(2, -1).trim()
    if (!KNOWN.has(name) && !PARAMS.test(name)) refuse(`"${token.text}" is not a placeholder`, KNOWN_HINT, start)
    if (GLUE_BEFORE.test(text.slice(0, start).slice(-2)) || GLUE_AFTER.test(text.slice(end)))
      refuse(
        `the placeholder ${token.text} is glued to a name or number`,
        "put a space between them; a placeholder is a value and cannot be a part of a name",
        start,
      )
  }
}

const GLUE_BEFORE = /[\w$\u0080-\u{10ffff}]$/u
const GLUE_AFTER = /^[\w$\u0080-\u{10ffff}]/u

/** The tokens before the final `;`. */
function onlyStatement(tokens: readonly SqlToken[], refuse: Refuse): readonly SqlToken[] {
  const isEnd = (token: SqlToken): boolean => token.kind === "symbol" && token.text === ";"
  const end = tokens.findIndex(isEnd)
  const statement = end < 0 ? tokens : tokens.slice(0, end)
  const second = end < 0 ? undefined : tokens.slice(end).find((token) => !isEnd(token))
  if (statement.length === 0 && second === undefined) refuse("the SQL is empty", "write one SELECT")
  if (second !== undefined)
    refuse(
      "the SQL has more than one statement",
      "keep one; what it needs of the others can be a WITH query in it",
      second.start,
    )
  return statement
}

function checkQuery(statement: readonly SqlToken[], refuse: Refuse): void {
  const first = statement.find((token) => token.text !== "(") ?? statement[0]
  if (first !== undefined && !(first.kind === "word" && QUERY_WORDS.has(first.text.toLowerCase())))
    refuse(
      `the SQL begins with ${first.text.length > 40 ? first.kind : first.text}, which is no query`,
      "write a query that begins with SELECT, WITH, VALUES or TABLE; the sink says where its rows go",
      first.start,
    )
  checkParentheses(statement, refuse)
  const write = statement.find((token, i) => isWritingWith(statement, token, i))
  if (write !== undefined)
    refuse(
      `the SQL writes: ${write.text.toUpperCase()} in a WITH query`,
      "a model only reads; the sink says where its rows go",
      write.start,
    )
}

function checkParentheses(statement: readonly SqlToken[], refuse: Refuse): void {
  const open: SqlToken[] = []
  for (const token of statement) {
    if (token.kind !== "symbol") continue
    if (token.text === "(") open.push(token)
    if (token.text === ")" && open.pop() === undefined)
      refuse("the SQL closes a parenthesis that it did not open", "remove it", token.start)
  }
  const last = open.at(-1)
  if (last !== undefined) refuse("the SQL has a parenthesis that is not closed", "close it", last.start)
}

/** `AS (DELETE …`, `AS MATERIALIZED (UPDATE …`: only a WITH query reads so. */
function isWritingWith(statement: readonly SqlToken[], token: SqlToken, i: number): boolean {
  const isWord = (at: number, words: readonly string[]): boolean => {
    const other = statement[at]
    return other?.kind === "word" && words.includes(other.text.toLowerCase())
  }
  return (
    token.kind === "word" &&
    WRITE_WORDS.has(token.text.toLowerCase()) &&
    statement[i - 1]?.text === "(" &&
    isWord(i - 2, ["as", "materialized"])
  )
}

function bind(text: string, places: readonly Place[], values: SqlValues, where: string): BoundSql {
  const numbers = new Map<string, number>()
  const bound: SqlValue[] = []
  const numberOf = (name: string): number => {
    const known = numbers.get(name)
    if (known !== undefined && !TYPED_BY_PLACE.has(name)) return known
    const number = bound.push(valueOf(name, values, where))
    numbers.set(name, number)
    return number
  }
  let sql = ""
  let from = 0
  for (const { name, start, end } of places) {
    const number = numberOf(name)
    sql += text.slice(from, start) + (INTEGERS.has(name) ? `($${number}::integer)` : `$${number}`)
    from = end
  }
  return { text: sql + text.slice(from), values: bound }
}

function valueOf(name: string, values: SqlValues, where: string): SqlValue {
  const value = Object.hasOwn(values, name) ? values[name] : undefined
  if (value !== undefined) return value
  throw new SpillwayError("CONFIG", `there is no value for the placeholder \${${name}}`, {
    where,
    hint: name.startsWith("params.")
      ? `give ${name.slice("params.".length)} in the model's params`
      : "only models by month or day have it; partition.key is there for every partition",
  })
}

/** Counted from 1. */
function lineOf(text: string, at: number): number {
  return text.slice(0, at).split(/\r\n|\r|\n/).length
}
