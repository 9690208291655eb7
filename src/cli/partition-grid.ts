import type { Colors } from "./colors.ts"
import type { PartitionCondition, PartitionState } from "../ledger/partition-states.ts"
import { daysInMonth, parseCalendarDate } from "../models/calendar.ts"
import { figure } from "../observability/wording.ts"
import { columns } from "./table.ts"

export interface GridStyle {
  readonly colors: Colors
  /** False: letters in place of signs. */
  readonly unicode: boolean
}

/** In the order in which they are named. */
const CONDITIONS: readonly PartitionCondition[] = ["done", "in-progress", "stale", "missing", "failed"]

const SIGNS: Readonly<Record<PartitionCondition | "none", { sign: string; letter: string }>> = {
  done: { sign: "●", letter: "D" },
  "in-progress": { sign: "◐", letter: "P" },
  stale: { sign: "▲", letter: "S" },
  missing: { sign: "○", letter: "M" },
  failed: { sign: "◆", letter: "F" },
  none: { sign: "·", letter: "." },
}

/** Whether the terminal's character set has the signs; where the environment does not tell, it is taken to. */
export function showsUnicode(env: Readonly<Record<string, string | undefined>>): boolean {
  const locale = env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"]
  return !locale || /utf-?8/i.test(locale)
}

/** The sign of a condition, or of no partition at all. */
export function signOf(condition: PartitionCondition | "none", { colors, unicode }: GridStyle): string {
  const { sign, letter } = SIGNS[condition]
  const text = unicode ? sign : letter
  switch (condition) {
    case "done":
      return colors.green(text)
    case "in-progress":
      return colors.cyan(text)
    case "stale":
      return colors.yellow(text)
    case "failed":
      return colors.red(text)
    case "missing":
    case "none":
      return colors.dim(text)
  }
}

/** How many partitions are how, which is also what the signs mean: `● 11 done  ▲ 1 stale`. */
export function legend(states: readonly PartitionState[], style: GridStyle): string {
  return CONDITIONS.map((condition) => ({ condition, n: states.filter(({ state }) => state === condition).length }))
    .filter(({ n }) => n > 0)
    .map(({ condition, n }) => `${signOf(condition, style)} ${figure(n)} ${condition.replace("-", " ")}`)
    .join("  ")
}

/** What the rows of a grid are: years of months; weeks of days, or months of days where there are many; none for other keys. */
export type GridShape = "years" | "weeks" | "months" | undefined

const MONTH_KEY = /^\d{4}-\d{2}$/
const DAY_KEY = /^\d{4}-\d{2}-\d{2}$/
/** As many rows of weeks still fit a glance. */
const MOST_WEEKS = 10
const DAY_MS = 86_400_000

export function shapeOf(keys: readonly string[]): GridShape {
  if (keys.length === 0) return undefined
  if (keys.every((key) => MONTH_KEY.test(key) && isDate(key))) return "years"
  if (!keys.every((key) => DAY_KEY.test(key) && isDate(key))) return undefined
  return new Set(keys.map(mondayOf)).size <= MOST_WEEKS ? "weeks" : "months"
}

const isDate = (key: string): boolean => typeof parseCalendarDate(key) !== "string"

/** A cell's place: its row's name, and its column from 0. */
interface Place {
  readonly row: string
  readonly column: number
}

interface Layout {
  readonly head: string
  readonly place: (key: string) => Place
  /** Columns that a row has. */
  readonly columns: (row: string) => number
  readonly cellGap: string
}

const LAYOUTS: Readonly<Record<Exclude<GridShape, undefined>, Layout>> = {
  years: {
    head: "J F M A M J J A S O N D",
    place: (key) => ({ row: key.slice(0, 4), column: Number(key.slice(5, 7)) - 1 }),
    columns: () => 12,
    cellGap: " ",
  },
  weeks: {
    head: "M T W T F S S",
    place: (key) => ({ row: mondayOf(key), column: (weekdayOf(key) + 6) % 7 }),
    columns: () => 7,
    cellGap: " ",
  },
  months: {
    head: "1   5    10   15   20   25   30",
    place: (key) => ({ row: key.slice(0, 7), column: Number(key.slice(8, 10)) - 1 }),
    columns: (row) => daysInMonth(Number(row.slice(0, 4)), Number(row.slice(5, 7))),
    cellGap: "",
  },
}

/** Milliseconds since the epoch of a day; `Date.UTC` takes years below 100 for those of the last century. */
const midnightOf = (day: string): number => Date.parse(`${day}T00:00:00Z`)
const weekdayOf = (day: string): number => new Date(midnightOf(day)).getUTCDay()
const mondayOf = (day: string): string =>
  new Date(midnightOf(day) - ((weekdayOf(day) + 6) % 7) * DAY_MS).toISOString().slice(0, 10)

/** More would fill the screen; `status --partitions` lists them all. */
const MOST_ROWS = 24

/**
 * Partitions that are months or days, as rows of signs, the newest rows last. A time between the first and the last that
 * has no partition is a dot; rows without any are left out. No lines for keys that are no dates.
 */
export function partitionGrid(states: readonly PartitionState[], style: GridStyle): string[] {
  const shape = shapeOf(states.map((state) => state.key))
  if (shape === undefined) return []
  const layout = LAYOUTS[shape]
  const rows = new Map<string, Map<number, PartitionCondition>>()
  for (const { key, state } of [...states].sort((a, b) => (a.key < b.key ? -1 : 1))) {
    const { row, column } = layout.place(key)
    rows.set(row, (rows.get(row) ?? new Map<number, PartitionCondition>()).set(column, state))
  }
  const names = [...rows.keys()]
  const shown = names.slice(-MOST_ROWS)
  const lines = shown.map((name) => {
    const cells = rows.get(name) ?? new Map<number, PartitionCondition>()
    const first = name === names[0] ? Math.min(...cells.keys()) : 0
    const last = name === names.at(-1) ? Math.max(...cells.keys()) : layout.columns(name) - 1
    const signs = Array.from({ length: last + 1 }, (_, i) => (i < first ? " " : signOf(cells.get(i) ?? "none", style)))
    return [style.colors.dim(name), signs.join(layout.cellGap)]
  })
  const hidden = names.length - shown.length
  const more = hidden > 0 ? [style.colors.dim(`(${hidden} earlier ${shape} not shown)`)] : []
  return [...more, ...columns([["", style.colors.dim(layout.head)], ...lines])]
}

/** A time as tables show it, in UTC: `2026-11-21 14:02:11Z`. */
const timeText = (time: Date): string => `${time.toISOString().slice(0, 19).replace("T", " ")}Z`

/** Every partition with its state, when it was built, its rows, and below it why it is not done and what to do. */
export function partitionList(states: readonly PartitionState[], style: GridStyle): string[] {
  const { colors } = style
  const head = ["  state", "partition", "built", "rows"].map((word) => colors.dim(word))
  const rows = states.map(({ key, state, builtAt, rows: n }) => [
    `${signOf(state, style)} ${state.replace("-", " ")}`,
    key,
    builtAt === undefined ? "" : timeText(builtAt),
    n === undefined ? "" : figure(n),
  ])
  const [first = "", ...lines] = columns([head, ...rows], { right: [3] })
  return [first, ...lines.flatMap((line, i) => [line, ...reasonLines(states[i], colors)])]
}

function reasonLines(state: PartitionState | undefined, colors: Colors): string[] {
  const lines: string[] = []
  if (state?.why !== undefined) lines.push(`    ${state.why}`)
  if (state?.hint !== undefined) lines.push(`    ${colors.cyan("hint")}: ${state.hint}`)
  return lines
}

/** As many are named one by one; `status --partitions` lists them all. */
const MOST_NAMED = 10

/**
 * Names the partitions of a pipeline that are not done, a line each with the reason. What is missing or in progress stands in the
 * grid; without one it is named in a line of its own. `told` are keys that are spoken of elsewhere.
 */
export function notDoneLines(
  pipeline: string,
  states: readonly PartitionState[],
  style: GridStyle,
  told: ReadonlySet<string>,
): string[] {
  const wrong = states.filter(({ key, state }) => (state === "stale" || state === "failed") && !told.has(key))
  const lines = wrong
    .slice(0, MOST_NAMED)
    .flatMap(({ key, state, why, hint }) => [
      `${signOf(state, style)} ${key} ${state}${why === undefined ? "" : `: ${why}`}`,
      ...(hint === undefined ? [] : [`  ${style.colors.cyan("hint")}: ${hint}`]),
    ])
  if (wrong.length > MOST_NAMED)
    lines.push(`${figure(wrong.length - MOST_NAMED)} more: spillway status --partitions ${pipeline}`)
  if (shapeOf(states.map((state) => state.key)) !== undefined) return lines
  for (const condition of ["missing", "in-progress"] as const) {
    const keys = states.filter(({ state }) => state === condition).map(({ key }) => key)
    if (keys.length === 0) continue
    const more = keys.length > MOST_NAMED ? ` and ${figure(keys.length - MOST_NAMED)} more` : ""
    lines.push(
      `${signOf(condition, style)} ${condition.replace("-", " ")}: ${keys.slice(0, MOST_NAMED).join(", ")}${more}`,
    )
  }
  return lines
}
