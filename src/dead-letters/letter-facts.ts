import type { Fault } from "../core/records.ts"
import { fingerprint } from "./letter.ts"
import { LetterTimes } from "./letter-time.ts"
import { ObjectScan } from "./object-scan.ts"
import { tellsOnlyFault } from "./only-fault.ts"

/** The keys of a letter that triage asks for. `timestamp` and `error` are those of letters that others write. */
const LETTER_KEYS = [
  "ts",
  "timestamp",
  "error_code",
  "error_msg",
  "error",
  "record",
  "id",
  "fingerprint",
  "pipeline_name",
  "run_id",
  "step",
  "rule",
  "path",
  "faults",
  "source",
  "status",
  "last_seen",
  "raw",
  "raw_encoding",
  "attempts",
  "correlation_id",
  "schema_version",
  "masked",
  "secrets",
  "expected",
  "actual_type",
] as const

const SOURCE_KEYS = ["file", "url", "topic", "query", "line"] as const

const FAULT_KEYS = ["path", "rule"] as const

const numbered = <K extends string>(keys: readonly K[]): Readonly<Record<K, number>> =>
  Object.fromEntries(keys.map((key, i) => [key, i])) as Record<K, number>

/** The numbers of a letter's keys in a scan of it. */
export const LETTER = numbered(LETTER_KEYS)
const SOURCE = numbered(SOURCE_KEYS)
/** Those of a fault's. */
export const FAULT = numbered(FAULT_KEYS)
/** What a source can be. */
const SOURCE_UNITS = [SOURCE.file, SOURCE.url, SOURCE.topic, SOURCE.query]

/** What stands from the fingerprint to the list of faults, or to the source, is the same in letters of one cause and run, and so is the end. */
export const letterScan = (): ObjectScan =>
  new ObjectScan(LETTER_KEYS, [
    { from: "fingerprint", before: "faults" },
    { from: "fingerprint", before: "source" },
    { from: "status" },
  ])

/** Whether an object is a letter, whoever wrote it: it says what went wrong, or with what. */
export const isLetter = (scan: ObjectScan): boolean => MARKS.some((key) => scan.from(key) >= 0)

const MARKS = [LETTER.error_code, LETTER.error, LETTER.error_msg, LETTER.record]

/** The code of a letter that names none. */
export const NO_CODE = "UNKNOWN"

/** What selections ask and triage counts. Text that a letter does not have is empty. */
export interface LetterFacts {
  readonly id: string
  readonly code: string
  readonly message: string
  readonly pipeline: string
  readonly run: string
  readonly step: string
  readonly status: string
  /** The fingerprint. */
  readonly group: string
  /** File, address, topic. */
  readonly source: string
  /** At least one: field (array indices as `[]`; empty for the whole record) and rule of each fault. */
  readonly faults: readonly FieldAndRule[]
  /** Milliseconds since the epoch: when it was set aside, and last seen. */
  readonly time: number | undefined
  readonly lastSeen: number | undefined
}

export interface FieldAndRule {
  readonly field: string
  readonly rule: string
}

/** A path without the places in lists: `items[3].price` is `items[].price`. */
export const fieldOf = (path: string): string => path.replace(/\[\d+\]/g, "[]")

/** Reads letters out of scans of them, whoever wrote them. */
export class LetterReader {
  readonly #times = new LetterTimes()
  readonly #source = new ObjectScan(SOURCE_KEYS)
  readonly #fault = new ObjectScan(FAULT_KEYS)

  /** All facts of a letter. */
  facts(scan: ObjectScan): LetterFacts {
    const { code, message } = errorOf(scan)
    const pipeline = scan.text(LETTER.pipeline_name) ?? ""
    const step = scan.text(LETTER.step) ?? ""
    const faults = this.faults(scan, message)
    return {
      id: scan.text(LETTER.id) ?? "",
      code,
      message,
      pipeline,
      run: scan.text(LETTER.run_id) ?? "",
      step,
      status: scan.text(LETTER.status) ?? "pending",
      group: scan.text(LETTER.fingerprint) ?? signature(pipeline, step, code, message, faults[0] ?? NOWHERE),
      source: this.source(scan),
      faults,
      time: this.time(scan),
      lastSeen: this.lastSeen(scan),
    }
  }

  /** Field and rule of each fault; where a letter lists none, what its keys or its message tell. */
  faults(scan: ObjectScan, message: string): readonly FieldAndRule[] {
    const isUnnamed = !scan.isText(LETTER.path) && !scan.isText(LETTER.rule)
    if (isUnnamed && tellsOnlyFault(scan, LETTER)) return [NOWHERE]
    const listing = scan.elements(LETTER.faults)
    if (listing > 1 || (listing === 1 && isUnnamed)) {
      const faults = this.#listedFaults(scan)
      if (faults.length > 0) return faults
    }
    const path = scan.text(LETTER.path) ?? namedField(scan, message)
    return [{ field: fieldOf(path), rule: scan.text(LETTER.rule) ?? "" }]
  }

  #listedFaults(scan: ObjectScan): FieldAndRule[] {
    const found: FieldAndRule[] = []
    this.eachFault(scan, (fault) => found.push(fieldAndRule(fault)))
    return found
  }

  /** A scan of each fault that a letter lists, good until the call returns. */
  eachFault(scan: ObjectScan, take: (fault: ObjectScan) => void): void {
    const fault = this.#fault
    scan.eachItem(LETTER.faults, (from, to) => {
      if (fault.read(scan.bytes, from, to)) take(fault)
    })
  }

  time(scan: ObjectScan): number | undefined {
    return this.#times.read(scan, LETTER.ts) ?? this.#times.read(scan, LETTER.timestamp)
  }

  lastSeen(scan: ObjectScan): number | undefined {
    return this.#times.read(scan, LETTER.last_seen) ?? this.time(scan)
  }

  source(scan: ObjectScan): string {
    const range = this.sourceRange(scan)
    return range === undefined ? "" : (range.scan.text(range.key) ?? "")
  }

  /** Where the name of the letter's source stands: the scan and the key of it. */
  sourceRange(scan: ObjectScan): { scan: ObjectScan; key: number } | undefined {
    if (scan.isText(LETTER.source)) return { scan, key: LETTER.source }
    const from = scan.from(LETTER.source)
    if (from < 0 || !this.#source.read(scan.bytes, from, scan.to(LETTER.source))) return undefined
    for (const key of SOURCE_UNITS) if (this.#source.isText(key)) return { scan: this.#source, key }
    return undefined
  }
}

const NOWHERE: FieldAndRule = { field: "", rule: "" }

/** Code and message, in the keys that Spillway writes or in an `error` that is a text or an object. */
function errorOf(scan: ObjectScan): { code: string; message: string } {
  const code = scan.text(LETTER.error_code)
  const message = scan.text(LETTER.error_msg)
  if (code !== undefined && message !== undefined) return { code, message }
  const error = scan.value(LETTER.error)
  const inner = typeof error === "object" && error !== null ? (error as Record<string, unknown>) : {}
  return {
    code: code ?? firstText(inner["code"], inner["error_code"], inner["type"], inner["name"]) ?? NO_CODE,
    message: message ?? firstText(error, inner["message"], inner["error_msg"], inner["error"]) ?? "",
  }
}

const firstText = (...values: readonly unknown[]): string | undefined =>
  values.find((value): value is string => typeof value === "string" && value !== "")

/** What a scan of a fault tells. */
export const fieldAndRule = (fault: ObjectScan): FieldAndRule => ({
  field: fieldOf(fault.text(FAULT.path) ?? ""),
  rule: fault.text(FAULT.rule) ?? "",
})

/** The field that a message such as `price: must not be negative` begins with, if the record has it. */
function namedField(scan: ObjectScan, message: string): string {
  const name = /^["'`]?([A-Za-z_][\w.-]*)["'`]?:\s/.exec(message)?.[1]
  const from = scan.from(LETTER.record)
  if (name === undefined || from < 0) return ""
  const at = scan.bytes.indexOf(`"${name.split(".")[0]}"`, from)
  return at >= 0 && at < scan.to(LETTER.record) ? name : ""
}

/** The fingerprint of a letter that carries none. */
const signature = (
  pipeline: string,
  step: string,
  code: string,
  message: string,
  { field, rule }: FieldAndRule,
): string =>
  fingerprint(pipeline, {
    code,
    step,
    message,
    path: field,
    ...(rule === "" ? {} : { rule }),
  } as Fault)
