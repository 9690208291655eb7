import type { ObjectScan } from "./object-scan.ts"

/** What a letter says of its error besides the list of its faults. */
export interface LetterError {
  readonly errorCode: string
  readonly errorMessage: string
  readonly step: string
  readonly rule: string | undefined
  readonly path: string | undefined
}

/** The only fault of a letter, as far as the letter's other keys do not tell it. */
export interface OnlyFault {
  readonly expected: string | undefined
  readonly actualType: string | undefined
}

/** The keys of a letter in a scan of it that tell its only fault, by their numbers. */
export interface FaultKeys {
  readonly fingerprint: number
  readonly error_code: number
  readonly error_msg: number
  readonly step: number
  readonly rule: number
  readonly path: number
  readonly faults: number
  readonly expected: number
  readonly actual_type: number
}

/**
 * What is left to tell of the only fault in a list (JSON text) that agrees with the rest of its letter. Undefined where the list has to be
 * written: with several faults, with none, and with one that says something else or more.
 */
export function onlyFault(faults: string, letter: LetterError): OnlyFault | undefined {
  const listed = JSON.parse(faults) as unknown
  if (!Array.isArray(listed) || listed.length !== 1) return undefined
  const [fault] = listed as [unknown]
  if (typeof fault !== "object" || fault === null || Array.isArray(fault)) return undefined
  const { code, step, message, rule, path, expected, actualType, ...others } = fault as Record<string, unknown>
  const agrees =
    code === letter.errorCode &&
    step === letter.step &&
    message === letter.errorMessage &&
    rule === letter.rule &&
    path === letter.path
  if (!agrees || Object.keys(others).length > 0 || !isOptionalText(expected) || !isOptionalText(actualType))
    return undefined
  return { expected, actualType }
}

const isOptionalText = (value: unknown): value is string | undefined => value === undefined || typeof value === "string"

/** Whether a scanned letter has one fault, which its own keys tell. Letters that others write have no fingerprint or no step. */
export const tellsOnlyFault = (scan: ObjectScan, keys: FaultKeys): boolean =>
  scan.from(keys.faults) < 0 && scan.isText(keys.fingerprint) && scan.isText(keys.step)

/** That fault, as a list would have it. */
export function toldFault(scan: ObjectScan, keys: FaultKeys): Record<string, string> {
  const told = {
    code: scan.text(keys.error_code),
    step: scan.text(keys.step),
    message: scan.text(keys.error_msg),
    rule: scan.text(keys.rule),
    path: scan.text(keys.path),
    expected: scan.text(keys.expected),
    actualType: scan.text(keys.actual_type),
  }
  const given = Object.entries(told).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(given)
}
