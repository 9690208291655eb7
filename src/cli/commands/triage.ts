import { resolve } from "node:path"
import type { Command } from "commander"
import type { Group } from "../../dead-letters/groups.ts"
import { matches } from "../../dead-letters/selection.ts"
import type { TriageReport } from "../../dead-letters/triage-report.ts"
import type { GroupDecision } from "../../ledger/dead-letter-groups.ts"
import { withExistingDatabase } from "../database.ts"
import { notFound, usageError } from "../errors.ts"
import type { CommandContext, Host } from "../host.ts"
import {
  countOption,
  maskingOf,
  selectionOf,
  withLetterOptions,
  withReveal,
  type LetterOptions,
} from "../letter-options.ts"
import { suggestion } from "../nearest.ts"
import type { Outcome } from "../output.ts"
import { standardInput } from "../standard-input.ts"
import { locateFolder } from "../project.ts"
import { sinceDate } from "../since.ts"
import { dimensions, stateMark, triageText, type Dimension, type TriageView } from "../triage-text.ts"

interface TriageOptions extends LetterOptions {
  readonly deadLetter?: string
  readonly by?: string
  readonly samples?: string
}

interface SuppressOptions {
  readonly reason: string
  readonly until: string
}

/** Samples of each group, on the screen of all and on that of one. */
const SAMPLES = 1
const SAMPLES_OF_ONE = 1
const MOST_SAMPLES = 100
const GROUPS_REPORTED = 100

export function triageCommand(program: Command, context: CommandContext): void {
  declareTriage(program, context)
  const dlq = program.commands.find((command) => command.name() === "dlq")
  if (dlq !== undefined) declareTriage(dlq, context)
}

function declareTriage(parent: Command, context: CommandContext): void {
  const triage = withReveal(withLetterOptions(parent.command("triage")))
    .description("say what happened to the records that were set aside: by code, field, group and source")
    .option("--dead-letter <file>", "a JSONL file, a folder of JSON files, or - for stdin (default: the database)")
    .option("--by <what>", `only one table, in full: ${dimensions.join(", ")}`)
    .option("--samples <n>", `letters shown of each group (default: ${SAMPLES})`)
    .addHelpText(
      "after",
      `
Examples:
  spillway triage
  spillway triage --dead-letter bad.jsonl --by field
  spillway triage --group v1:3f2a                    one letter against its schema
  spillway triage --filter 'code = VALIDATION and field = price' --since 1d
  spillway triage suppress v1:3f2a --reason "supplier mends it" --until 2026-12-01`,
    )
    .action((options: TriageOptions) => context.act((host) => triageLetters(host, options)))
  declareDecisions(triage, context)
}

function declareDecisions(triage: Command, context: CommandContext): void {
  triage
    .command("resolve")
    .description("say that a group is dealt with; a letter that comes later makes it regressed")
    .argument("<group>", "its fingerprint, or the beginning of it")
    .addHelpText("after", "\nExamples:\n  spillway triage resolve v1:3f2a")
    .action((group: string) => context.act((host) => decideOn(host, group, { kind: "resolve" })))
  triage
    .command("suppress")
    .description("leave a group alone for a time, with a reason")
    .argument("<group>", "its fingerprint, or the beginning of it")
    .requiredOption("--reason <text>", "why")
    .requiredOption("--until <when>", "7d, 2w, or a date")
    .addHelpText("after", '\nExamples:\n  spillway triage suppress v1:3f2a --reason "supplier mends it" --until 7d')
    .action((group: string, options: SuppressOptions) => context.act((host) => suppress(host, group, options)))
  triage
    .command("note")
    .description("write a note on a group; its state stays")
    .argument("<group>", "its fingerprint, or the beginning of it")
    .argument("<text>", "the note")
    .addHelpText("after", '\nExamples:\n  spillway triage note v1:3f2a "seen since the price feed moved"')
    .action((group: string, note: string) => context.act((host) => decideOn(host, group, { kind: "note", note })))
}

async function triageLetters(host: Host, options: TriageOptions): Promise<Outcome> {
  const by = dimensionOf(options.by)
  const standard = options.group === undefined ? SAMPLES : SAMPLES_OF_ONE
  const samples = options.samples === undefined ? standard : countOption("--samples", options.samples, MOST_SAMPLES)
  const detail = options.group !== undefined
  const found = await (options.deadLetter === undefined
    ? ofDatabase(host, options, samples)
    : ofFiles(host, options.deadLetter, options, samples))
  // People are told by the text.
  if (found.report.unread > 0 && host.output.json)
    host.output.warn(`${found.report.unread} of the input could not be read as a letter`)
  const view = { ...found, by, detail }
  return { data: triageData(view), text: triageText(view, host.output.colors, host.output.width) }
}

function dimensionOf(by: string | undefined): Dimension | undefined {
  const found = dimensions.find((known) => known === by)
  if (by !== undefined && found === undefined)
    throw usageError(
      `--by ${by} is nothing to count by`,
      suggestion(by, dimensions, `it is one of ${dimensions.join(", ")}`),
    )
  return found
}

type Found = Pick<TriageView, "report" | "groups" | "from">

async function ofFiles(host: Host, file: string, options: TriageOptions, samples: number): Promise<Found> {
  const { triageFiles } = await import("../../dead-letters/triage-files.ts")
  const now = host.ports.clock.now()
  const path = file === "-" ? file : resolve(host.directory, file)
  const { group } = options
  const chosen = selectionOf(options, undefined, now)
  const report = await triageFiles(
    { files: host.ports.files, path, stdin: standardInput() },
    {
      samples,
      groups: GROUPS_REPORTED,
      masking: maskingOf(options),
      choose:
        chosen === undefined && group === undefined
          ? undefined
          : (letter) =>
              (group === undefined || beginsWith(letter.group, group)) &&
              (chosen === undefined || matches(chosen, letter)),
    },
  )
  if (group !== undefined) requireOne(group, report)
  return { report, groups: undefined, from: file === "-" ? "standard input" : file }
}

const beginsWith = (fingerprint: string, name: string): boolean =>
  fingerprint.startsWith(name) || fingerprint.replace(/^v\d+:/, "").startsWith(name)

function requireOne(group: string, report: TriageReport): void {
  if (report.groupCount === 0)
    throw notFound(`there is no group ${group} among these letters`, {
      hint: "leave out --group (and --filter, --since): spillway triage lists the groups",
    })
  if (report.groupCount > 1)
    throw usageError(
      `${report.groupCount} groups begin with ${group}`,
      `write more of it: ${report.groups
        .slice(0, 5)
        .map((one) => one.fingerprint)
        .join(", ")}`,
    )
}

async function ofDatabase(host: Host, options: TriageOptions, samples: number): Promise<Found> {
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const found = await withExistingDatabase(host, directory, async (session) => {
    const { triageDatabase } = await import("../../dead-letters/triage-database.ts")
    const { groupNamed, lookAtGroups } = await import("../../dead-letters/groups.ts")
    const fingerprint =
      options.group === undefined ? undefined : groupNamed(options.group, [...(await lookAtGroups(session)).keys()])
    const selection = selectionOf(options, fingerprint, host.ports.clock.now())
    return triageDatabase(session, { selection, samples, groups: GROUPS_REPORTED, masking: maskingOf(options) })
  })
  if (found === undefined)
    throw notFound("nothing has run yet: there are no dead letters", {
      where: directory,
      hint: "begin with: spillway run; or name a file: spillway triage --dead-letter FILE",
    })
  return { ...found, from: "the database" }
}

const isoTime = (time: number | undefined): string | null => (time === undefined ? null : new Date(time).toISOString())

function triageData({ report, groups }: TriageView): unknown {
  return {
    ...report,
    from: isoTime(report.from),
    to: isoTime(report.to),
    groups: report.groups.map((group) => ({
      ...group,
      firstSeen: isoTime(group.firstSeen),
      lastSeen: isoTime(group.lastSeen),
      ...(groups === undefined ? {} : stateData(groups.get(group.fingerprint))),
    })),
  }
}

const stateData = (group: Group | undefined): Record<string, unknown> => ({
  state: group?.state ?? null,
  open: group?.open ?? null,
  note: group?.note ?? null,
  suppressedUntil: group?.suppressedUntil ?? null,
  suppressReason: group?.suppressReason ?? null,
})

function suppress(host: Host, group: string, options: SuppressOptions): Promise<Outcome> {
  const reason = options.reason.trim()
  if (reason === "") throw usageError("--reason is empty", "say why this group may be left alone")
  const now = host.ports.clock.now()
  // A span such as 7d counts forwards here.
  const named = sinceDate(options.until, now).getTime()
  const until = new Date(/^\d+\s*[smhdw]$/.test(options.until.trim()) ? 2 * now - named : named)
  if (until.getTime() <= now)
    throw usageError(`--until ${options.until} is over already`, "give a time to come: 7d, 2w, or a date")
  return decideOn(host, group, { kind: "suppress", reason, until })
}

async function decideOn(host: Host, name: string, decision: GroupDecision): Promise<Outcome> {
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const group = await withExistingDatabase(host, directory, async (session) => {
    const { decide } = await import("../../dead-letters/groups.ts")
    return decide(session, name, decision)
  })
  if (group === undefined)
    throw notFound("nothing has run yet: there are no groups", { where: directory, hint: "begin with: spillway run" })
  const { fingerprint, title, open } = group
  return {
    data: { fingerprint, title, ...stateData(group) },
    text: `${fingerprint}  ${title}  ${stateMark(group.state, host.output.colors)}${open > 0 ? `, ${open} open` : ""}`,
  }
}
