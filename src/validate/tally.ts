import type { ErrorCode } from "../core/errors.ts"
import type { Fault } from "../core/records.ts"

/** How often one rule failed for one field. A record with several faults counts for each of them. */
export interface FaultCount {
  readonly code: ErrorCode
  readonly path: string
  readonly rule: string | null
  readonly expected: string | null
  readonly count: number
}

export interface FileCounts {
  readonly file: string
  readonly read: number
  readonly good: number
  readonly bad: number
}

export interface ValidateReport {
  readonly runId: string
  readonly read: number
  readonly good: number
  readonly bad: number
  /** good ÷ read; null when nothing was read. */
  readonly passRate: number | null
  /** The least pass rate that was asked for. */
  readonly minPassRate: number
  readonly passed: boolean
  /** Bad records by the code of their first fault. */
  readonly codes: Readonly<Record<string, number>>
  /** What failed, most frequent first, at most 20. */
  readonly faults: readonly FaultCount[]
  readonly files: readonly FileCounts[]
  readonly goodOut: string | null
  readonly deadLetter: string | null
  /** Reading stopped at `limit`, before the end. */
  readonly limited: boolean
  readonly durationMs: number
}

const FAULTS_TOLD = 20
/** Faults without a rule may be as many as there are records: those that come later are counted together. */
const FAULTS_KEPT = 1_000

/** Counts records and what is wrong with them. */
export class FaultTally {
  readonly codes: Record<string, number> = {}
  readonly #faults = new Map<string, { fault: Fault; count: number }>()

  /** So many records with the same faults. */
  add(faults: readonly [Fault, ...Fault[]], records = 1): void {
    const [{ code }] = faults
    this.codes[code] = (this.codes[code] ?? 0) + records
    for (const fault of faults) this.#count(fault, records)
  }

  most(): FaultCount[] {
    return [...this.#faults.values()]
      .sort((a, b) => b.count - a.count)
      .slice(0, FAULTS_TOLD)
      .map(({ fault: { code, path, rule, expected }, count }) => ({
        code,
        path: path ?? "",
        rule: rule ?? null,
        expected: expected ?? null,
        count,
      }))
  }

  #count(fault: Fault, records: number): void {
    const path = (fault.path ?? "").replace(/\[\d+\]/g, "[]")
    let key = `${fault.code} ${path} ${fault.rule ?? ""} ${fault.expected ?? ""}`
    if (!this.#faults.has(key) && this.#faults.size >= FAULTS_KEPT) key = ""
    const known = this.#faults.get(key)
    if (known !== undefined) known.count += records
    else if (key === "") this.#faults.set(key, { fault: { ...fault, path: "", rule: "other" }, count: records })
    else this.#faults.set(key, { fault: { ...fault, path }, count: records })
  }
}
