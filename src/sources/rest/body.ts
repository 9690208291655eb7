import { SpillwayError } from "../../core/errors.ts"
import type { RecordObject } from "../../core/records.ts"
import { printable } from "../../core/shown.ts"
import { hasLongNumber } from "../../formats/json-numbers.ts"

/** Where something stands in a body: `data.items`, or the keys one by one where they contain dots. */
export type BodyPath = string | readonly string[]

export const pathOf = (path: BodyPath): readonly string[] =>
  typeof path === "string" ? (path === "" ? [] : path.split(".")) : path

/** The value at a path; undefined where there is none. */
export function valueAtPath(root: unknown, path: readonly string[]): unknown {
  let value = root
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string, unknown>)[key]
  }
  return value
}

/** What a body says of there being more; undefined where it says nothing. */
export function isMore(body: unknown, path: BodyPath): boolean | undefined {
  const said = valueAtPath(body, pathOf(path))
  if (said === undefined) return undefined
  return !(said === null || said === false || said === "" || said === 0 || said === "false")
}

/** The number at a path, also one written as text; undefined where there is none. */
export function numberAt(body: unknown, path: BodyPath): number | undefined {
  const said = valueAtPath(body, pathOf(path))
  if (typeof said !== "number" && (typeof said !== "string" || said.trim() === "")) return undefined
  const number = Number(said)
  return Number.isFinite(number) ? number : undefined
}

export const isObject = (value: unknown): value is RecordObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Where the items are in a body: a path, or what takes them out of it. Undefined: the body itself, or the only array in it. */
export type ItemsOption = BodyPath | ((body: unknown) => unknown) | undefined

export interface ParsedPage {
  readonly body: unknown
  readonly items: readonly unknown[]
  /** Undefined where a function took the items out. */
  readonly path: readonly string[] | undefined
  /** A number in it may have more digits than the parser keeps. */
  readonly hasLongNumbers: boolean
}

/**
 * A page as JSON, with its items. Where a function takes them out, their numbers of `exact` come as the text they are written as. Throws
 * `DECODE` for a body that is not JSON (transient) or has no items, `CONFIG` where it cannot be told which array is meant.
 */
export function parsePage(bytes: Buffer, option: ItemsOption, exact: ReadonlySet<string>): ParsedPage {
  const text = bytes.toString("utf8", bytes[0] === 0xef && bytes[1] === 0xbb ? 3 : 0)
  const hasLongNumbers = exact.size > 0 && hasLongNumber(text)
  const numbers: { holder: unknown; key: string; source: string }[] = []
  const note = function (this: unknown, key: string, value: unknown, { source }: { source?: string }): unknown {
    if (typeof value === "number" && source !== undefined && exact.has(key)) numbers.push({ holder: this, key, source })
    return value
  } as (key: string, value: unknown) => unknown
  const body = parse(text, typeof option === "function" && hasLongNumbers ? note : undefined)
  const found = find(body, option)
  const holders = new Set(numbers.length === 0 ? [] : found.items)
  for (const { holder, key, source } of numbers)
    if (holders.has(holder))
      Object.defineProperty(holder, key, { value: source, writable: true, enumerable: true, configurable: true })
  return { body, ...found, hasLongNumbers }
}

function parse(text: string, reviver?: (key: string, value: unknown) => unknown): unknown {
  try {
    return JSON.parse(text, reviver) as unknown
  } catch (error) {
    // The parser's message quotes the body, which may hold anything.
    const [place] = /at position \d+(?: \(line \d+ column \d+\))?/.exec(String(error)) ?? []
    throw new SpillwayError("DECODE", `the page is not JSON${place === undefined ? "" : ` ${place}`}`, {
      class: "transient",
      hint: "see what the address returns; ask who runs the API if it should be JSON",
    })
  }
}

function find(body: unknown, option: ItemsOption): { items: readonly unknown[]; path: readonly string[] | undefined } {
  const path = typeof option === "function" ? undefined : option === undefined ? onlyArray(body) : pathOf(option)
  const items = typeof option === "function" ? option(body) : valueAtPath(body, path ?? [])
  if (Array.isArray(items)) return { items, path }
  // Some languages write an empty list so.
  if (items === null) return { items: [], path: undefined }
  const where =
    path === undefined ? "where items() looks" : path.length === 0 ? "in place of the body" : `at ${path.join(".")}`
  throw new SpillwayError("DECODE", `the page has no list of items ${where}`, {
    class: "terminal",
    hint: `the answer ${contentOf(body)}; if the list is in it, say where with items, otherwise see what the address answers`,
  })
}

/** `is an object with the properties "a", "b"`. */
function contentOf(body: unknown): string {
  if (!isObject(body)) return Array.isArray(body) ? "is a list" : `is ${body === null ? "null" : `a ${typeof body}`}`
  const names = Object.keys(body).slice(0, PROPERTIES_SHOWN)
  if (names.length === 0) return "is an empty object"
  const shown = names.map((name) => JSON.stringify(printable(name))).join(", ")
  return `is an object with the ${names.length === 1 ? "property" : "properties"} ${shown}`
}

const PROPERTIES_SHOWN = 20

/** The path of the body itself, or of the one array among its properties. */
function onlyArray(body: unknown): readonly string[] {
  if (!isObject(body)) return []
  const arrays = Object.keys(body).filter((name) => Array.isArray(body[name]))
  if (arrays.length > 1)
    throw new SpillwayError("CONFIG", `the page has several lists: ${arrays.join(", ")}`, {
      hint: `say which one holds the items: items: "${arrays[0]}"`,
    })
  return arrays
}
