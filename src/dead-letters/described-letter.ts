import { shown, valueAt } from "../core/shown.ts"
import {
  hidesAnything,
  hidesFields,
  isMasked,
  masked,
  maskedMessage,
  MASK,
  withSecretFields,
  type Masking,
} from "./masking.ts"

/** One line of the difference between a record and what its schema expects. */
export interface FieldDifference {
  /** The path to the field; empty for the whole record. */
  readonly field: string
  /** What is wrong; empty for a field that nothing was said against. */
  readonly faults: readonly { readonly rule: string; readonly expected: string; readonly message: string }[]
  /** The value, short. */
  readonly got: string
}

/** A letter as people look at it: nothing secret, nothing long. */
export interface DescribedLetter {
  readonly id: string
  readonly time: string
  readonly code: string
  readonly message: string
  /** File and line, address, topic and offset; empty where the letter does not say. */
  readonly place: string
  readonly record: unknown
  /** The original text; base64 where `rawEncoding` says so; undefined where there is none, or where it would give a secret away. */
  readonly raw: string | undefined
  readonly rawEncoding: string | undefined
  /** The fields with faults first, then the others in the record's order. */
  readonly difference: readonly FieldDifference[]
}

type Parsed = Readonly<Record<string, unknown>>

/** Fields that the difference lists besides those with faults. */
const MOST_FIELDS = 50

/**
 * A parsed letter, in Spillway's form or one that others write, with what is secret masked: by `given`, and what the letter itself
 * names in `secrets`. `readFrom` is its place where it names none.
 */
export function describeLetter(letter: Parsed, given: Masking, readFrom = ""): DescribedLetter {
  const rule = maskingOfLetter(letter, given)
  const error = own(letter, "error")
  const inner = isObject(error) ? error : {}
  const record = own(letter, "record")
  const faults = faultsOf(letter)
  const hides = hidesRaw(letter, rule) || faults.some((fault) => isMasked(keysOf(record, fault.path), rule))
  const message = text(own(letter, "error_msg")) || text(error) || text(own(inner, "message"))
  const raw = text(own(letter, "raw"))
  return {
    id: text(own(letter, "id")),
    time: text(own(letter, "ts")) || text(own(letter, "timestamp")),
    code: text(own(letter, "error_code")) || text(own(inner, "code")),
    message:
      faults.length === 0
        ? text(masked(message, rule))
        : faults.map((fault) => maskedMessage(fault.message, keysOf(record, fault.path), rule)).join("; "),
    place: placeOf(own(letter, "source")) || readFrom,
    record: masked(record, rule),
    raw: raw === "" || hides ? undefined : text(masked(raw, rule)),
    rawEncoding: text(own(letter, "raw_encoding")) || undefined,
    difference: differenceOf(record, faults, rule),
  }
}

/** What a letter's `secrets` name is secret, too. */
export function maskingOfLetter(letter: Parsed, rule: Masking): Masking {
  const named = own(letter, "secrets")
  const fields = Array.isArray(named) ? named.filter((field) => typeof field === "string") : []
  return fields.length === 0 ? rule : withSecretFields(rule, fields)
}

/** Whether the original text may tell what is kept from view: where fields stand in it is not known. */
export const hidesRaw = (letter: Parsed, rule: Masking): boolean =>
  hidesFields(rule) || hidesAnything(own(letter, "record"), rule)

interface ReadFault {
  readonly path: string
  readonly rule: string
  readonly expected: string
  readonly message: string
}

/** The faults that a letter lists, or the only one, which its keys tell; those of letters that others write are looked for. */
function faultsOf(letter: Parsed): readonly ReadFault[] {
  const listed = own(letter, "faults")
  const faults = (Array.isArray(listed) ? (listed as unknown[]) : []).filter(isObject).map((fault) => ({
    path: text(own(fault, "path")),
    rule: text(own(fault, "rule")),
    expected: text(own(fault, "expected")),
    message: text(own(fault, "message")),
  }))
  if (faults.length > 0) return faults
  if (listed === undefined && text(own(letter, "fingerprint")) !== "" && text(own(letter, "step")) !== "")
    return [onlyFault(letter)]
  const message = text(own(letter, "error_msg")) || text(own(letter, "error")) || messageOf(own(letter, "error"))
  const named = /^["'`]?([A-Za-z_][\w.-]*)["'`]?:\s/.exec(message)?.[1] ?? ""
  const record = own(letter, "record")
  const path = text(own(letter, "path")) || (valueAt(record, keysOf(record, named)) === undefined ? "" : named)
  return [{ path, rule: text(own(letter, "rule")), expected: "", message }]
}

const onlyFault = (letter: Parsed): ReadFault => ({
  path: text(own(letter, "path")),
  rule: text(own(letter, "rule")),
  expected: text(own(letter, "expected")),
  message: text(own(letter, "error_msg")),
})

const messageOf = (error: unknown): string => (isObject(error) ? text(own(error, "message")) : "")

function differenceOf(record: unknown, faults: readonly ReadFault[], rule: Masking): FieldDifference[] {
  const byField = Map.groupBy(faults, (fault) => fault.path)
  const wrong = [...byField].map(([field, found]) => ({
    field,
    faults: found.map(({ rule: name, expected, message }) => ({
      rule: name,
      expected,
      message: maskedMessage(message, keysOf(record, field), rule),
    })),
    got: got(record, keysOf(record, field), rule),
  }))
  if (!isObject(record)) return wrong
  const others = Object.keys(record)
    .filter((key) => !byField.has(key))
    .slice(0, MOST_FIELDS)
  return [...wrong, ...others.map((key) => ({ field: key, faults: [], got: got(record, [key], rule) }))]
}

function got(record: unknown, path: readonly PropertyKey[], rule: Masking): string {
  const value = valueAt(record, path)
  if (value === undefined) return "nothing"
  if (isMasked(path, rule)) return MASK
  const seen = masked(value, rule, path)
  return isObject(seen) || Array.isArray(seen) ? shorten(JSON.stringify(seen)) : shown(seen)
}

const LONGEST_VALUE = 80
const shorten = (json: string): string =>
  json.length <= LONGEST_VALUE ? json : `${json.slice(0, LONGEST_VALUE - 1).toWellFormed()}…`

/** The keys of a path such as `a.b[0]`; a record may also have a key that reads like a path. */
export function keysOf(record: unknown, path: string): readonly PropertyKey[] {
  if (path === "") return []
  if (isObject(record) && Object.hasOwn(record, path)) return [path]
  return [...path.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map(([, index, key]) =>
    index === undefined ? (key ?? "") : Number(index),
  )
}

/** Where a record came from: `data/a.csv:17`, `https://… page 3`, `orders[2]@1041`. */
export function placeOf(source: unknown): string {
  if (typeof source === "string") return source
  if (!isObject(source)) return ""
  const unit = ["file", "url", "topic", "query"].map((key) => text(own(source, key))).find((name) => name !== "") ?? ""
  const [line, page, offset, partition] = ["line", "page", "offset", "partition"].map((key) => own(source, key))
  if (partition !== undefined) return `${unit}[${text(partition)}]@${text(offset)}`
  if (line !== undefined) return `${unit}:${text(line)}`
  return page === undefined ? unit : `${unit} page ${text(page)}`
}

const isObject = (value: unknown): value is Parsed =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const own = (object: Parsed, key: string): unknown => (Object.hasOwn(object, key) ? object[key] : undefined)

const text = (value: unknown): string =>
  typeof value === "string" ? value : typeof value === "number" ? String(value) : ""
