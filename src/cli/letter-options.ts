import type { Command } from "commander"
import { masking, type Masking } from "../dead-letters/masking.ts"
import { allOf, parseSelection, type Selection } from "../dead-letters/selection.ts"
import { usageError } from "./errors.ts"
import { sinceDate } from "./since.ts"

/** What commands on dead letters are asked. */
export interface LetterOptions {
  readonly filter?: string
  readonly since?: string
  readonly group?: string
  readonly reveal?: string[]
}

const listed = (value: string, before: string[] | undefined): string[] => [
  ...(before ?? []),
  ...value.split(",").map((part) => part.trim()),
]

export const withLetterOptions = (command: Command): Command =>
  command
    .option("--filter <expression>", "only letters such as: code = VALIDATION and field = price and since 2d")
    .option("--group <fingerprint>", "only of this group; the beginning is enough")
    .option("--since <when>", "only those seen since: 1h, 7d, or a date")

export const withReveal = (command: Command): Command =>
  command.option("--reveal <fields>", "show these fields although they are secret (repeatable, or with commas)", listed)

/** What the options choose; `fingerprint` is the group that `--group` means. Undefined: everything. Throws `CONFIG`. */
export function selectionOf(
  options: LetterOptions,
  fingerprint: string | undefined,
  now: number,
): Selection | undefined {
  const filter =
    options.filter === undefined ? undefined : parseSelection(options.filter, (text) => sinceDate(text, now))
  const since: Selection | undefined =
    options.since === undefined ? undefined : { kind: "since", time: sinceDate(options.since, now) }
  const group: Selection | undefined =
    fingerprint === undefined ? undefined : { kind: "is", word: "group", values: [fingerprint] }
  return allOf([group, since, filter])
}

export const maskingOf = (options: Pick<LetterOptions, "reveal">): Masking => masking(options.reveal)

/** A whole number from 0 or `least` up to `most`. Throws `CONFIG`. */
export function countOption(flag: string, text: string, most: number, least = 0): number {
  const count = Number(text)
  if (/^\d+$/.test(text) && count >= least && count <= most) return count
  throw usageError(`${flag} ${text} is not a number that can be`, `give a whole number from ${least} to ${most}`)
}
