import { SpillwayError } from "../core/errors.ts"
import { fieldOf, type LetterFacts } from "./letter-facts.ts"

/** What can be asked of a letter. */
const WORDS = [
  "code",
  "field",
  "rule",
  "step",
  "pipeline",
  "group",
  "status",
  "source",
  "run",
  "id",
  "message",
] as const
export type SelectionWord = (typeof WORDS)[number]

/** A choice of letters. */
export type Selection =
  | { readonly kind: "is"; readonly word: SelectionWord; readonly values: readonly string[] }
  | { readonly kind: "contains"; readonly word: SelectionWord; readonly value: string }
  /** By when a letter was last seen. */
  | { readonly kind: "since" | "before"; readonly time: Date }
  | { readonly kind: "not"; readonly inner: Selection }
  | { readonly kind: "and" | "or"; readonly parts: readonly Selection[] }

const GRAMMAR = `write for example: code = VALIDATION and field = price and since 2d; words are ${WORDS.join(", ")}; also !=, ~ (contains), in (a, b), since, before, or, not, ( )`

/**
 * Reads `code = VALIDATION and (field = price or rule in (min, max)) and not source ~ "test" and since 2d`. A value with other
 * characters than letters, digits and `_ . : / [ ] * @ + -` stands in single or double quotes, doubled inside. `and` binds closer than
 * `or`; words in any case. `readTime` reads what follows `since` and `before`. Throws `CONFIG`, also where `readTime` does.
 */
export function parseSelection(text: string, readTime: (text: string) => Date): Selection {
  const parser = new SelectionParser(tokensOf(text), text, readTime)
  return parser.whole()
}

interface Token {
  readonly text: string
  readonly quoted: boolean
  readonly at: number
}

const TOKEN = /\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|(!=|[=~(),])|([\w.:/[\]*@+-]+))/y

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  while (text.slice(TOKEN.lastIndex).trim() !== "") {
    const at = TOKEN.lastIndex
    const match = TOKEN.exec(text)
    if (match === null) throw misread(text, `${JSON.stringify(text.slice(at).trim())} is not understood`)
    const [, double, single, sign, word] = match
    const quoted = double?.replaceAll('""', '"') ?? single?.replaceAll("''", "'")
    tokens.push({ text: quoted ?? sign ?? word ?? "", quoted: quoted !== undefined, at })
  }
  return tokens
}

const misread = (text: string, problem: string): SpillwayError =>
  new SpillwayError("CONFIG", `the filter cannot be read: ${problem}`, { where: text, hint: GRAMMAR })

class SelectionParser {
  readonly #tokens: readonly Token[]
  readonly #text: string
  readonly #readTime: (text: string) => Date
  #at = 0

  constructor(tokens: readonly Token[], text: string, readTime: (text: string) => Date) {
    this.#tokens = tokens
    this.#text = text
    this.#readTime = readTime
  }

  whole(): Selection {
    const selection = this.#either()
    const rest = this.#tokens[this.#at]
    if (rest !== undefined) throw this.#wrong(`"and" or "or" is expected before ${JSON.stringify(rest.text)}`)
    return selection
  }

  #either(): Selection {
    return this.#joined("or", () => this.#joined("and", () => this.#single()))
  }

  #joined(kind: "and" | "or", part: () => Selection): Selection {
    const parts = [part()]
    while (this.#takes(kind)) parts.push(part())
    return parts.length === 1 ? (parts[0] as Selection) : { kind, parts }
  }

  #single(): Selection {
    if (this.#takes("not")) return { kind: "not", inner: this.#single() }
    if (this.#takes("(")) {
      const inner = this.#either()
      this.#expect(")")
      return inner
    }
    for (const kind of ["since", "before"] as const)
      if (this.#takes(kind)) return { kind, time: this.#readTime(this.#value(kind)) }
    return this.#comparison(this.#word())
  }

  #comparison(word: SelectionWord): Selection {
    if (this.#takes("=")) return this.#is(word, [this.#value("=")])
    if (this.#takes("!=")) return { kind: "not", inner: this.#is(word, [this.#value("!=")]) }
    if (this.#takes("~")) return { kind: "contains", word, value: this.#value("~") }
    if (!this.#takes("in")) throw this.#wrong(`=, !=, ~ or in is expected after ${word}`)
    this.#expect("(")
    const values = [this.#value("(")]
    while (this.#takes(",")) values.push(this.#value(","))
    this.#expect(")")
    return this.#is(word, values)
  }

  #is(word: SelectionWord, values: readonly string[]): Selection {
    if (word === "field") return { kind: "is", word, values: values.map(fieldOf) }
    if (word === "code") return { kind: "is", word, values: values.map((value) => value.toUpperCase()) }
    return { kind: "is", word, values }
  }

  #word(): SelectionWord {
    const token = this.#tokens[this.#at]
    if (token === undefined) throw this.#wrong("something is missing at the end")
    const word = WORDS.find((known) => !token.quoted && known === token.text.toLowerCase())
    if (word === undefined) throw this.#wrong(`${JSON.stringify(token.text)} is not one of its words`)
    this.#at++
    return word
  }

  #value(after: string): string {
    const token = this.#tokens[this.#at]
    if (token === undefined || (!token.quoted && /^(?:!=|[=~(),])$/.test(token.text)))
      throw this.#wrong(`a value is expected after ${after}`)
    this.#at++
    return token.text
  }

  #takes(text: string): boolean {
    const token = this.#tokens[this.#at]
    if (token === undefined || token.quoted || token.text.toLowerCase() !== text) return false
    this.#at++
    return true
  }

  #expect(text: string): void {
    if (!this.#takes(text)) throw this.#wrong(`${text} is missing`)
  }

  #wrong(problem: string): SpillwayError {
    return misread(this.#text, problem)
  }
}

/** Whether a letter is chosen. A letter without the time that is asked for is not. */
export function matches(selection: Selection, letter: LetterFacts): boolean {
  switch (selection.kind) {
    case "is":
      return valuesOf(letter, selection.word).some((value) => selection.values.includes(value))
    case "contains":
      return valuesOf(letter, selection.word).some((value) => value.includes(selection.value))
    case "since":
      return letter.lastSeen !== undefined && letter.lastSeen >= selection.time.getTime()
    case "before":
      return letter.lastSeen !== undefined && letter.lastSeen < selection.time.getTime()
    case "not":
      return !matches(selection.inner, letter)
    case "and":
      return selection.parts.every((part) => matches(part, letter))
    case "or":
      return selection.parts.some((part) => matches(part, letter))
  }
}

/** A letter has several fields and rules where it has several faults: one that fits is enough. */
function valuesOf(letter: LetterFacts, word: SelectionWord): readonly string[] {
  if (word === "field") return letter.faults.map((fault) => fault.field)
  if (word === "rule") return letter.faults.map((fault) => fault.rule)
  if (word === "code") return [letter.code.toUpperCase()]
  return [letter[word]]
}

/** A condition on `ops.dead_letters d`, never NULL, with the values of its parameters. */
export interface Condition {
  readonly sql: string
  readonly values: readonly unknown[]
}

/** The same choice as a condition, to be put beside others, whose parameters begin with `$1`; without one, every letter. */
export function toCondition(selection: Selection | undefined): Condition {
  if (selection === undefined) return { sql: "true", values: [] }
  const values: unknown[] = []
  const parameter = (value: unknown): string => `$${values.push(value)}`
  return { sql: conditionOf(selection, parameter), values }
}

function conditionOf(selection: Selection, parameter: (value: unknown) => string): string {
  switch (selection.kind) {
    case "is": {
      const list = parameter(selection.values)
      return someValue(selection.word, (value) => `${value} = ANY(${list}::text[])`)
    }
    case "contains": {
      const part = parameter(selection.value)
      return someValue(selection.word, (value) => `strpos(${value}, ${part}::text) > 0`)
    }
    case "since":
      return `d.last_seen >= ${parameter(selection.time)}::timestamptz`
    case "before":
      return `d.last_seen < ${parameter(selection.time)}::timestamptz`
    case "not":
      return `NOT (${conditionOf(selection.inner, parameter)})`
    case "and":
    case "or": {
      const parts = selection.parts.map((part) => conditionOf(part, parameter))
      return `(${parts.join(selection.kind === "and" ? " AND " : " OR ")})`
    }
  }
}

const COLUMNS: Readonly<Record<Exclude<SelectionWord, "field" | "rule">, string>> = {
  code: "upper(d.error_code)",
  step: "d.step",
  pipeline: "d.pipeline_name",
  group: "d.fingerprint",
  status: "d.status",
  source: "coalesce(d.source->>'file', d.source->>'url', d.source->>'topic', d.source->>'query', '')",
  run: "d.run_id",
  id: "d.id",
  message: "d.error_msg",
}

const FAULT_COLUMNS = {
  field: String.raw`regexp_replace(coalesce(f.value->>'path', ''), '\[\d+\]', '[]', 'g')`,
  rule: "coalesce(f.value->>'rule', '')",
} as const

/** The faults of a letter; where it lists none, what its columns tell. */
const FAULTS = `jsonb_array_elements(CASE WHEN jsonb_array_length(d.faults) > 0 THEN d.faults ELSE jsonb_build_array(jsonb_build_object('path', d.path, 'rule', d.rule)) END)`

function someValue(word: SelectionWord, test: (value: string) => string): string {
  if (word !== "field" && word !== "rule") return test(COLUMNS[word])
  return `EXISTS (SELECT FROM ${FAULTS} f WHERE ${test(FAULT_COLUMNS[word])})`
}

/** Whether a selection says something of the status of letters. */
export function namesStatus(selection: Selection): boolean {
  switch (selection.kind) {
    case "is":
    case "contains":
      return selection.word === "status" || selection.word === "id"
    case "since":
    case "before":
      return false
    case "not":
      return namesStatus(selection.inner)
    case "and":
    case "or":
      return selection.parts.some(namesStatus)
  }
}

/** All of these at once; everything where there is none. */
export function allOf(parts: readonly (Selection | undefined)[]): Selection | undefined {
  const given = parts.filter((part) => part !== undefined)
  return given.length < 2 ? given[0] : { kind: "and", parts: given }
}
