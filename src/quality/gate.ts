import type { Check, RecordCheck, SetCheck } from "../core/contracts.ts"
import type { Fault, RecordObject } from "../core/records.ts"

export interface SplitChecks {
  readonly record: readonly RecordCheck[]
  readonly set: readonly SetCheck[]
}

/** The checks by what they judge, each list in the order of declaration. */
export const splitChecks = (checks: readonly Check[]): SplitChecks => ({
  record: checks.filter((check) => check.level === "record"),
  set: checks.filter((check) => check.level === "set"),
})

/** Everything that is wrong with a record; empty when it passes. */
export function judgeRecord(checks: readonly RecordCheck[], record: RecordObject): readonly Fault[] {
  let faults: Fault[] | undefined
  for (const check of checks) {
    const fault = check.judge(record)
    if (fault !== undefined) (faults ??= []).push(fault)
  }
  return faults ?? NO_FAULTS
}

const NO_FAULTS: readonly Fault[] = Object.freeze([])
