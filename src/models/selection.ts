import { SpillwayError } from "../core/errors.ts"
import { parseCalendarDate } from "./calendar.ts"
import { by, isTimed, keyFault, keyHint, type PartitionUnit } from "./partition-unit.ts"

/** What may be said of the partitions to do; all of it must hold. */
export interface SelectionFlags {
  /** `2010`. */
  readonly year?: string | number | undefined
  /** `1` to `12`, of any year or of `year`. */
  readonly month?: string | number | undefined
  /** Keys, one of them: `2011-03`; the names of files where those are the partitions. */
  readonly partition?: readonly string[] | undefined
  /** `2011`, `2011-03` or `2011-03-09`: from the beginning of it. */
  readonly from?: string | undefined
  /** `2011`, `2011-03` or `2011-03-09`: to the end of it. */
  readonly to?: string | undefined
  /** `missing`, `failed`, `stale`, several with commas. */
  readonly only?: string | undefined
}

export type OnlyWord = "missing" | "failed" | "stale"

/** Which partitions are to be done; what is undefined does not narrow it. */
export interface Selection {
  readonly year: number | undefined
  readonly month: number | undefined
  readonly keys: ReadonlySet<string> | undefined
  readonly from: string | undefined
  readonly to: string | undefined
  readonly only: ReadonlySet<OnlyWord> | undefined
}

/** The reasons to do a partition that each word of `--only` stands for. */
const REASONS: Readonly<Record<OnlyWord, ReadonlySet<string>>> = {
  missing: new Set(["missing", "new"]),
  failed: new Set(["failed", "failed-before", "held", "held-before"]),
  stale: new Set(["stale", "changed"]),
}
const ONLY_WORDS = Object.keys(REASONS) as OnlyWord[]

/** Reads the flags. Throws `CONFIG` for what is no year, month or date, for `from` after `to`, and for an unknown word in `only`. */
export function parseSelection(flags: SelectionFlags): Selection {
  const from = boundOf("from", flags.from)
  const to = boundOf("to", flags.to)
  if (from !== undefined && to !== undefined && compare(from, to) > 0)
    refuse(`--from ${from} is after --to ${to}`, "swap them; both ends are included")
  return {
    year: flags.year === undefined ? undefined : yearOf(String(flags.year).trim()),
    month: flags.month === undefined ? undefined : monthOf(String(flags.month).trim()),
    keys: flags.partition === undefined || flags.partition.length === 0 ? undefined : new Set(flags.partition),
    from,
    to,
    only: flags.only === undefined ? undefined : onlyOf(flags.only),
  }
}

const refuse = (message: string, hint: string): never => {
  throw new SpillwayError("CONFIG", message, { hint })
}

function yearOf(text: string): number {
  if (!/^\d{4}$/.test(text) || text === "0000") refuse(`--year ${text} is not a year`, "write four digits: --year 2011")
  return Number(text)
}

function monthOf(text: string): number {
  const month = /^\d{1,2}$/.test(text) ? Number(text) : 0
  if (month < 1 || month > 12)
    refuse(
      `--month ${text} is not a month`,
      "write a number from 1 to 12: --month 3 is every March, --year 2011 --month 3 is one",
    )
  return month
}

function boundOf(flag: "from" | "to", given: string | undefined): string | undefined {
  if (given === undefined) return undefined
  const text = given.trim()
  const date = parseCalendarDate(text)
  if (typeof date === "string")
    refuse(`--${flag} ${text} is not a date: it ${date}`, `write --${flag} 2011, 2011-03 or 2011-03-09`)
  return text
}

function onlyOf(text: string): ReadonlySet<OnlyWord> {
  const words = text.split(",").map((word) => word.trim())
  const only = new Set<OnlyWord>()
  for (const word of words) {
    const known = ONLY_WORDS.find((candidate) => candidate === word)
    if (known === undefined)
      return refuse(
        `--only ${text}: ${JSON.stringify(word)} is not one of ${ONLY_WORDS.join(", ")}`,
        `write --only ${ONLY_WORDS.join(",")}, or some of them`,
      )
    only.add(known)
  }
  return only
}

/** Below 0 when `a` is before `b`, 0 when one lies in the other: `2011` and `2011-03`. */
function compare(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  const [left, right] = [a.slice(0, length), b.slice(0, length)]
  return left < right ? -1 : left > right ? 1 : 0
}

/**
 * Refuses what cannot be asked of partitions by `unit` (undefined: files or the like, whose keys say nothing of time):
 * years, months, `from` and `to` where partitions do not follow in time, and keys that they cannot have. Throws `CONFIG`;
 * `where` names the pipeline.
 */
export function checkSelection(selection: Selection, unit: PartitionUnit | undefined, where?: string): void {
  checkTimed(selection, unit, where)
  if (unit === undefined) return
  for (const key of selection.keys ?? []) {
    const fault = keyFault(unit, key)
    if (fault !== undefined)
      throw new SpillwayError("CONFIG", `--partition: ${fault}`, { where: where ?? by(unit), hint: keyHint(unit) })
  }
}

function checkTimed(selection: Selection, unit: PartitionUnit | undefined, where?: string): void {
  const flag = (["year", "month", "from", "to"] as const).find((name) => selection[name] !== undefined)
  if (flag === undefined || isTimed(unit)) return
  throw new SpillwayError("CONFIG", `--${flag} asks for a time, but the partitions are not by month or day`, {
    where: where ?? (unit === undefined ? undefined : by(unit)),
    hint: "name them with --partition",
  })
}

/**
 * Whether a partition is to be done. `reason` is why it would be (`missing`, `new`, `failed-before`, `stale` …).
 * `from` and `to` are compared as far as both they and the key go: `2011-03-09` takes the month `2011-03` with it.
 * Throws `CONFIG` where partitions do not follow in time and a time is asked for.
 */
export function selects(selection: Selection, unit: PartitionUnit | undefined, key: string, reason: string): boolean {
  checkTimed(selection, unit)
  const { year, month, keys, from, to, only } = selection
  return (
    (year === undefined || Number(key.slice(0, 4)) === year) &&
    (month === undefined || Number(key.slice(5, 7)) === month) &&
    (keys === undefined || keys.has(key)) &&
    (from === undefined || compare(key, from) >= 0) &&
    (to === undefined || compare(key, to) <= 0) &&
    (only === undefined || [...only].some((word) => REASONS[word].has(reason)))
  )
}

/** The selection in words: `all partitions`, `month 2010-12`, `from 2011-03 to 2011-05, only failed or stale`. */
export function describeSelection({ year, month, keys, from, to, only }: Selection): string {
  const parts: string[] = []
  const fourDigits = String(year).padStart(4, "0")
  const twoDigits = month === undefined ? undefined : String(month).padStart(2, "0")
  if (year !== undefined)
    parts.push(twoDigits === undefined ? `year ${fourDigits}` : `month ${fourDigits}-${twoDigits}`)
  else if (twoDigits !== undefined) parts.push(`month ${twoDigits} of every year`)
  if (keys !== undefined)
    parts.push(keys.size === 1 ? `partition ${[...keys].join()}` : `partitions ${[...keys].join(", ")}`)
  if (from !== undefined || to !== undefined)
    parts.push([from === undefined ? [] : [`from ${from}`], to === undefined ? [] : [`to ${to}`]].flat().join(" "))
  if (only !== undefined) parts.push(`only ${[...only].join(" or ")}`)
  return parts.length === 0 ? "all partitions" : parts.join(", ")
}
