import type { CursorKey } from "./cursor.ts"

/** What partitions are divided by: days or months of UTC. */
export type WindowUnit = "day" | "month"

/** A span of time, in milliseconds since 1970; `to` is not part of it. */
export interface Window {
  /** `2026-01-05`, `2026-01`. */
  readonly name: string
  readonly from: number
  readonly to: number
}

/** The days or months from `start` up to `end` (not part of it); the first and last one are cut off there. */
export function windowsOf(unit: WindowUnit, start: number, end: number): Window[] {
  const windows: Window[] = []
  for (let at = begin(unit, start); at < end;) {
    const next = after(unit, at)
    windows.push({
      name: new Date(at).toISOString().slice(0, unit === "day" ? 10 : 7),
      from: Math.max(at, start),
      to: next,
    })
    at = next
  }
  return windows
}

function begin(unit: WindowUnit, time: number): number {
  const date = new Date(time)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), unit === "day" ? date.getUTCDate() : 1)
}

function after(unit: WindowUnit, time: number): number {
  const date = new Date(time)
  return unit === "day"
    ? Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + 1)
    : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
}

/** The smaller of two keys of one kind, either of which may be missing. */
export const earlier = (a: CursorKey | undefined, b: CursorKey | undefined): CursorKey | undefined =>
  a === undefined ? b : b === undefined || a < b ? a : b
