import { readPattern, type PatternNode } from "./pattern.ts"

/** Nodes of the machine, and of the table that is made of them as texts come along; patterns that need more are not taken. */
const MOST_NODES = 2_000
const MOST_STATES = 256
const ASCII = 128
const UNKNOWN = -1
const DEAD = 0

/** Tells by one look at each byte whether a text of ASCII matches a pattern. */
export interface Automaton {
  /** False also for what it cannot tell: bytes beyond ASCII, and a pattern that turns out to need too many states. */
  accepts(bytes: Uint8Array, from: number, to: number): boolean
}

interface Node {
  /** The bytes it takes, and the node behind it; undefined for nodes that take none. */
  readonly takes: Uint8Array | undefined
  readonly next: number[]
  /** Passed at the start, or at the end, of the text only. */
  readonly at: "start" | "end" | undefined
}

/** Undefined for patterns beyond the regular ones: back-references, look-around, word boundaries, flags other than `u`. */
export function automaton(pattern: RegExp): Automaton | undefined {
  const tree = readPattern(pattern)
  if (tree === undefined) return undefined
  const nodes: Node[] = []
  const add = (takes: Uint8Array | undefined, next: number[], at?: "start" | "end"): number =>
    nodes.push({ takes, next, at }) - 1
  const final = add(undefined, [])
  // What follows a match does not matter.
  const behind = add(ANYTHING, [])
  nodes[final]?.next.push(behind)
  nodes[behind]?.next.push(final)
  const first = build(tree, final, add, () => nodes.length < MOST_NODES)
  if (first === undefined) return undefined
  const before = add(ANYTHING, [])
  const start = add(undefined, [first, before])
  nodes[before]?.next.push(start)
  return new LazyTable(nodes, start, final)
}

const ANYTHING = new Uint8Array(ASCII).fill(1)

/** Adds the nodes of a part of the pattern in front of `next`, from its end to its start; gives the first. */
function build(
  tree: PatternNode,
  next: number,
  add: (takes: Uint8Array | undefined, next: number[], at?: "start" | "end") => number,
  hasRoom: () => boolean,
): number | undefined {
  if (!hasRoom()) return undefined
  const within = (inner: PatternNode, behind: number): number | undefined => build(inner, behind, add, hasRoom)
  switch (tree.kind) {
    case "set":
      return add(tree.bytes, [next])
    case "edge":
      return add(undefined, [next], tree.at)
    case "sequence":
      return tree.parts.reduceRight<number | undefined>(
        (behind, part) => (behind === undefined ? undefined : within(part, behind)),
        next,
      )
    case "choice": {
      const firsts = tree.options.map((option) => within(option, next))
      return firsts.every((first) => first !== undefined) ? add(undefined, firsts) : undefined
    }
    case "repeat": {
      let first: number | undefined = next
      if (tree.most === Infinity) {
        const ways: number[] = [next]
        first = add(undefined, ways)
        const again = within(tree.part, first)
        if (again === undefined) return undefined
        ways.push(again)
      } else
        for (let n = tree.least; n < tree.most && first !== undefined; n++) {
          const once: number | undefined = within(tree.part, first)
          first = once === undefined ? undefined : add(undefined, [once, next])
        }
      for (let n = 0; n < tree.least && first !== undefined; n++) first = within(tree.part, first)
      return first
    }
  }
}

/** The sets of nodes that texts lead to, found when a text first gets there. */
class LazyTable implements Automaton {
  readonly #nodes: readonly Node[]
  readonly #final: number
  readonly #sets: (readonly number[])[] = [[]]
  readonly #accepting: boolean[] = [false]
  readonly #numbers = new Map<string, number>([["", DEAD]])
  readonly #table = new Int16Array(MOST_STATES * ASCII).fill(UNKNOWN)
  readonly #start: number

  constructor(nodes: readonly Node[], start: number, final: number) {
    this.#nodes = nodes
    this.#final = final
    this.#table.fill(DEAD, 0, ASCII)
    this.#start = this.#stateOf(this.#closure([start], "start"))
  }

  accepts(bytes: Uint8Array, from: number, to: number): boolean {
    const table = this.#table
    let state = this.#start
    for (let at = from; at < to; at++) {
      const byte = bytes[at] as number
      if (byte >= ASCII) return false
      let next = table[state * ASCII + byte] as number
      if (next === UNKNOWN) next = this.#step(state, byte)
      if (next === DEAD) return false
      state = next
    }
    return this.#accepting[state] === true
  }

  #step(state: number, byte: number): number {
    const reached = (this.#sets[state] ?? []).flatMap((n) => {
      const node = this.#nodes[n]
      return node?.takes?.[byte] === 1 ? node.next : []
    })
    const next = this.#stateOf(this.#closure(reached, undefined))
    this.#table[state * ASCII + byte] = next
    return next
  }

  /** The number of a set of nodes; `DEAD` when there is no room for another. */
  #stateOf(set: readonly number[]): number {
    const key = set.join()
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    if (this.#sets.length === MOST_STATES) return DEAD
    const number = this.#sets.push(set) - 1
    this.#accepting.push(this.#closure(set, "end").includes(this.#final))
    this.#numbers.set(key, number)
    return number
  }

  /** The nodes and all that follow from them without taking a byte, at this edge of the text or within it, in order. */
  #closure(from: readonly number[], edge: "start" | "end" | undefined): readonly number[] {
    const found = new Set<number>()
    const open = [...from]
    for (let n = open.pop(); n !== undefined; n = open.pop()) {
      if (found.has(n)) continue
      found.add(n)
      const node = this.#nodes[n]
      if (node === undefined || node.takes !== undefined) continue
      if (node.at === undefined || node.at === edge) open.push(...node.next)
    }
    return [...found].sort((a, b) => a - b)
  }
}
