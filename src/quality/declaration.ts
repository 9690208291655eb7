import type { SetCheck } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Fault } from "../core/records.ts"
import { printable } from "../core/shown.ts"

export type Severity = SetCheck["severity"]

export interface SetOptions {
  /** `fail` (default) holds the partition, `warn` is an event. */
  severity?: Severity
}

/** Judges each record by itself and sends those that fail to the dead letters. */
export interface RecordLevel {
  level: "record"
}

export interface SetLevel extends SetOptions {
  level?: "set"
}

/** The severity of a set-level check. Throws `CONFIG` for anything but `warn` and `fail`. */
export function severityOf(check: string, options: SetOptions, preset: Severity = "fail"): Severity {
  const severity: string = options.severity ?? preset
  if (severity === "warn" || severity === "fail") return severity
  throw new SpillwayError("CONFIG", `${check}: the severity ${JSON.stringify(severity)} is unknown`, {
    hint: 'use "warn" or "fail"',
  })
}

/** True for a record-level check. Throws `CONFIG` for an unknown level, and for a severity, which single records do not have. */
export function isRecordLevel(check: string, options: RecordLevel | SetLevel): options is RecordLevel {
  const level: string = options.level ?? "set"
  if (level !== "set" && level !== "record")
    throw new SpillwayError("CONFIG", `${check}: the level ${JSON.stringify(level)} is unknown`, {
      hint: 'use "set" or "record"',
    })
  if (level === "record" && "severity" in options)
    throw new SpillwayError("CONFIG", `${check}: a record-level check has no severity`, {
      hint: "leave severity out: what fails goes to the dead letters, and passRate() judges how many may",
    })
  return level === "record"
}

/** A share of records. Throws `CONFIG` outside of 0 … 1. */
export function ratioOf(check: string, name: string, ratio: number): number {
  if (typeof ratio === "number" && ratio >= 0 && ratio <= 1) return ratio
  throw new SpillwayError("CONFIG", `${check}: ${name} ${String(ratio)} is not a share from 0 to 1`, {
    hint: "95 % is 0.95",
  })
}

/** The properties a check is about. Throws `CONFIG` for none, an empty name, or the same twice. */
export function propertiesOf(check: string, properties: readonly string[]): readonly string[] {
  const named = properties.length > 0 && properties.every((property) => typeof property === "string" && property !== "")
  if (named && new Set(properties).size === properties.length) return properties
  throw new SpillwayError("CONFIG", `${check}: ${JSON.stringify(properties)} is not a list of different properties`, {
    hint: "name the properties of the record that the check is about",
  })
}

/** A fault of a record-level check. */
export function checkFault(check: string, message: string, property?: string, expected?: string): Fault {
  return {
    code: "QUALITY_GATE",
    step: "check",
    rule: check,
    message: printable(message),
    ...(property === undefined ? {} : { path: property }),
    ...(expected === undefined ? {} : { expected }),
  }
}
