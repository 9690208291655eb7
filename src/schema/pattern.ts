/** The parts of a regular expression that stand for regular languages; sets are of ASCII bytes. */
export type PatternNode =
  | { readonly kind: "set"; readonly bytes: Uint8Array }
  | { readonly kind: "edge"; readonly at: "start" | "end" }
  | { readonly kind: "sequence"; readonly parts: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly options: readonly PatternNode[] }
  | { readonly kind: "repeat"; readonly part: PatternNode; readonly least: number; readonly most: number }

/** A pattern as a tree; undefined where it holds anything else: look-around, back-references, word boundaries, odd flags. */
export function readPattern({ source, flags }: RegExp): PatternNode | undefined {
  if (flags !== "" && flags !== "u") return undefined
  const reader = new PatternReader(source)
  try {
    const tree = reader.choice()
    return reader.isAtEnd ? tree : undefined
  } catch (error) {
    if (error instanceof BeyondRegular) return undefined
    throw error
  }
}

class BeyondRegular extends Error {}

const ASCII = 128
const MOST_REPEATS = 1_000

const setOf = (holds: (code: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: ASCII }, (_, code) => (holds(code) ? 1 : 0))
const between = (low: string, high: string): Uint8Array =>
  setOf((code) => code >= low.charCodeAt(0) && code <= high.charCodeAt(0))
const oneOf = (...sets: readonly Uint8Array[]): Uint8Array => setOf((code) => sets.some((set) => set[code] === 1))
const not = (set: Uint8Array): Uint8Array => setOf((code) => set[code] === 0)
const only = (code: number): Uint8Array => setOf((other) => other === code)

const DIGIT = between("0", "9")
const WORD = oneOf(DIGIT, between("a", "z"), between("A", "Z"), only(0x5f))
const SPACE = setOf((code) => code === 0x20 || (code >= 0x09 && code <= 0x0d))
const CLASSES: Readonly<Record<string, Uint8Array>> = {
  d: DIGIT,
  D: not(DIGIT),
  w: WORD,
  W: not(WORD),
  s: SPACE,
  S: not(SPACE),
}
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 }
const ANY = setOf((code) => code !== 0x0a && code !== 0x0d)

class PatternReader {
  readonly #source: string
  #at = 0

  constructor(source: string) {
    this.#source = source
  }

  get isAtEnd(): boolean {
    return this.#at === this.#source.length
  }

  choice(): PatternNode {
    const options = [this.#sequence()]
    while (this.#skip("|")) options.push(this.#sequence())
    return options.length === 1 ? (options[0] as PatternNode) : { kind: "choice", options }
  }

  #sequence(): PatternNode {
    const parts: PatternNode[] = []
    while (!this.isAtEnd && this.#peek() !== "|" && this.#peek() !== ")") parts.push(this.#repeated())
    return { kind: "sequence", parts }
  }

  #repeated(): PatternNode {
    const part = this.#atom()
    const [least, most] = this.#count() ?? [1, 1]
    if (least === 1 && most === 1) return part
    if (part.kind === "edge") throw new BeyondRegular()
    // Taking as few as possible makes no other texts match.
    this.#skip("?")
    if (/[*+?{]/.test(this.#peek())) throw new BeyondRegular()
    return { kind: "repeat", part, least, most }
  }

  #count(): readonly [number, number] | undefined {
    if (this.#skip("*")) return [0, Infinity]
    if (this.#skip("+")) return [1, Infinity]
    if (this.#skip("?")) return [0, 1]
    if (this.#peek() !== "{") return undefined
    const found = /^\{(\d+)(,(\d*))?\}/.exec(this.#source.slice(this.#at))
    if (found === null) throw new BeyondRegular()
    this.#at += found[0].length
    const least = Number(found[1])
    const most = found[2] === undefined ? least : found[3] === "" ? Infinity : Number(found[3])
    if (least > MOST_REPEATS || (most !== Infinity && most > MOST_REPEATS)) throw new BeyondRegular()
    return [least, most]
  }

  #atom(): PatternNode {
    const character = this.#next()
    switch (character) {
      case "^":
        return { kind: "edge", at: "start" }
      case "$":
        return { kind: "edge", at: "end" }
      case ".":
        return { kind: "set", bytes: ANY }
      case "(":
        return this.#group()
      case "[":
        return { kind: "set", bytes: this.#class() }
      case "\\":
        return { kind: "set", bytes: this.#escape(false) }
      case "*":
      case "+":
      case "?":
      case "{":
        throw new BeyondRegular()
      default:
        return { kind: "set", bytes: literal(character) }
    }
  }

  #group(): PatternNode {
    if (this.#skip("?") && !this.#skip(":")) throw new BeyondRegular()
    const inner = this.choice()
    if (!this.#skip(")")) throw new BeyondRegular()
    return inner
  }

  /** A class of characters, behind its bracket. */
  #class(): Uint8Array {
    const negated = this.#skip("^")
    const sets: Uint8Array[] = []
    while (!this.#skip("]")) {
      const low = this.#member()
      if (this.#peek() !== "-" || this.#source[this.#at + 1] === "]") {
        sets.push(low)
        continue
      }
      this.#next()
      sets.push(range(low, this.#member()))
    }
    const together = oneOf(...sets)
    return negated ? not(together) : together
  }

  #member(): Uint8Array {
    const character = this.#next()
    return character === "\\" ? this.#escape(true) : literal(character)
  }

  /** What stands behind a backslash. */
  #escape(inClass: boolean): Uint8Array {
    const character = this.#next()
    const named = Object.hasOwn(CLASSES, character) ? CLASSES[character] : undefined
    if (named !== undefined) return named
    const control = Object.hasOwn(CONTROLS, character) ? CONTROLS[character] : undefined
    if (control !== undefined) return only(control)
    if (character === "x" || character === "u") return only(this.#hex(character === "x" ? 2 : 4))
    if (inClass && character === "b") return only(8)
    // Letters and digits mean something that is not known here.
    if (/[A-Za-z0-9]/.test(character)) throw new BeyondRegular()
    return literal(character)
  }

  #hex(digits: number): number {
    const text = this.#source.slice(this.#at, this.#at + digits)
    const code = new RegExp(`^[0-9a-fA-F]{${digits}}$`).test(text) ? Number.parseInt(text, 16) : ASCII
    if (code >= ASCII) throw new BeyondRegular()
    this.#at += digits
    return code
  }

  #peek(): string {
    return this.#source[this.#at] ?? ""
  }

  #next(): string {
    const character = this.#peek()
    if (character === "") throw new BeyondRegular()
    this.#at++
    return character
  }

  #skip(character: string): boolean {
    if (this.#peek() !== character) return false
    this.#at++
    return true
  }
}

function literal(character: string): Uint8Array {
  const code = character.charCodeAt(0)
  if (code >= ASCII) throw new BeyondRegular()
  return only(code)
}

function range(low: Uint8Array, high: Uint8Array): Uint8Array {
  const from = low.indexOf(1)
  const to = high.indexOf(1)
  // A class as the end of a range is taken for a dash by some.
  if (from < 0 || to < from || low.lastIndexOf(1) !== from || high.lastIndexOf(1) !== to) throw new BeyondRegular()
  return setOf((code) => code >= from && code <= to)
}
