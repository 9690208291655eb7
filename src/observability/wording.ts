import type { Counts } from "../core/events.ts"

/** `541,909`. To make a formatter of Intl would take longer than all the rest of a short command. */
export const figure = (n: number): string => String(Math.round(n)).replace(/\B(?=(?:\d{3})+$)/g, ",")

/** `1 row`, `541,909 rows`; `many` where an `s` is not enough. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${figure(n)} ${n === 1 ? one : many}`

/** Milliseconds as people say them: `85 ms`, `3.1 s`, `2 min 05 s`, `1 h 02 min`. */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  const two = (n: number): string => String(n).padStart(2, "0")
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`
}

/** How long ago, roughly: `just now`, `12 s ago`, `3 min ago`, `5 h ago`, `2 days ago`. */
export function ago(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 2) return "just now"
  if (seconds < 60) return `${seconds} s ago`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ago`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ago` : `${Math.floor(hours / 24)} days ago`
}

/** `24.93 %`; what is there but rounds to nothing reads `<0.01 %`. */
export function percent(part: number, whole: number): string {
  if (whole === 0) return "0.00 %"
  const value = (100 * part) / whole
  return part > 0 && value < 0.005 ? "<0.01 %" : `${value.toFixed(2)} %`
}

/** Per second, of `n` in `ms`; undefined where too little happened to say. */
export const perSecond = (n: number, ms: number): number | undefined => (n > 0 && ms > 0 ? (n * 1000) / ms : undefined)

const OUTCOMES = [
  ["inserted", "inserted"],
  ["updated", "updated"],
  ["unchanged", "unchanged"],
  ["duplicate", "duplicate"],
  ["superseded", "superseded"],
  ["filtered", "filtered"],
  ["deadLettered", "dead-lettered"],
] as const satisfies readonly (readonly [keyof Counts, string])[]

/** What became of the records: `541,909 read = 541,907 inserted + 2 dead-lettered`. Deleted rows stand apart, outside the equation. */
export function equation(counts: Readonly<Counts>): string {
  const left = `${figure(counts.read)} read${counts.expanded > 0 ? ` + ${figure(counts.expanded)} expanded` : ""}`
  const right = OUTCOMES.filter(([key]) => counts[key] > 0).map(([key, word]) => `${figure(counts[key])} ${word}`)
  const balance = right.length > 0 ? `${left} = ${right.join(" + ")}` : left
  return counts.deleted > 0 ? `${balance}; ${plural(counts.deleted, "row")} deleted` : balance
}
