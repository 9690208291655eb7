import type { PartitionMeasures } from "../core/contracts.ts"

/** One of a check's own aggregates as a number; NaN, which passes no check, when it is missing though there are rows. */
export const aggregate = (measures: PartitionMeasures, name: string): number =>
  measures.staged === 0 ? 0 : Number(measures.aggregates[name] ?? Number.NaN)

/** `24.9268 %`. */
export const share = (ratio: number): string => `${Number((ratio * 100).toFixed(4))} %`

export const rows = (count: number): string => `${count} row${count === 1 ? "" : "s"}`
