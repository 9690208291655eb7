import { resolve } from "node:path"
import type { Command } from "commander"
import type { JsonValue } from "../../core/json.ts"
import type { Patch } from "../../dead-letters/patch.ts"
import { visible } from "../../dead-letters/visible.ts"
import { allOf, type Selection } from "../../dead-letters/selection.ts"
import type { Pipeline } from "../../engine/definition.ts"
import type { ReplayPlan } from "../../engine/replay/replay-plan.ts"
import type { ReplayReport } from "../../engine/replay/replay.ts"
import { figure, plural } from "../../observability/wording.ts"
import type { Database } from "../../postgres/session.ts"
import { confirm } from "../confirm.ts"
import { inSession } from "../database.ts"
import { usageError } from "../errors.ts"
import { worst } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import { countOption, selectionOf, withLetterOptions, type LetterOptions } from "../letter-options.ts"
import type { Outcome } from "../output.ts"
import { patchOption } from "../patch-option.ts"
import { loadProject } from "../project.ts"
import { exitCodeOfReplay, operatingSystemUser, pipelinesOf } from "../replaying.ts"
import { replayPlanText, replayReportText, sumOf } from "../replay-text.ts"
import { textProgress } from "../text-progress.ts"

interface ReplayFlags extends LetterOptions {
  readonly pipeline?: string
  readonly ids?: string
  readonly deadLetter?: string
  readonly patch?: string
  readonly canary?: string
  readonly rate?: string
  readonly abortAbove?: string
  readonly poisoned?: boolean
  readonly force?: boolean
  readonly dryRun?: boolean
  readonly yes?: boolean
}

/** Letters taken through the pipeline for the plan that is shown before a replay; `--dry-run` takes all. */
const CHECKED_FOR_PLAN = 10_000
const MOST_LETTERS = 1_000_000_000

export function replayCommand(program: Command, context: CommandContext): void {
  withLetterOptions(program.command("replay-dlq"))
    .description("take dead letters through their pipeline again, mended or not, into its table")
    .option("--pipeline <name>", "only letters of this pipeline")
    .option("--ids <ids>", "only these letters, with commas between")
    .option("--dead-letter <file>", "letters of a JSONL file (needs --pipeline); they are added to the database first")
    .option(
      "--patch <patch>",
      "mend each record: a JSON Merge Patch, a .json file with one, or a function (fix.ts#fix)",
    )
    .option(
      "--canary <n>",
      "replay so many first, then ask; stops when more of them fail than --abort-above (default 0)",
    )
    .option("--rate <n>", "at most so many letters a second")
    .option(
      "--abort-above <ratio>",
      "stop when more than this share of letters fails, 0 to 1; that batch is not loaded",
    )
    .option("--poisoned", "also letters that have failed three times")
    .option("--force", "overwrite rows of the same key that are newer")
    .option("--dry-run", "show what would pass and what would still fail, and why; changes nothing")
    .option("--yes", "do not ask")
    .addHelpText(
      "after",
      `
Each letter ends as replayed, discarded or pending again; after three failed replays it is poisoned. Replaying twice loads once.
The same command goes on where it was interrupted; two at once share the work. Tables that are built from the loaded rows are
stale afterwards: spillway run builds them.

Exit codes: 0 all loaded, 6 some failed or were left, 1 stopped by --abort-above or --canary, 130 interrupted.

Examples:
  spillway replay-dlq --group v1:3f2a --dry-run
  spillway replay-dlq --group v1:3f2a --patch '{"currency": "EUR"}' --canary 10
  spillway replay-dlq --filter 'code = DECODE' --patch fix.ts#fix --yes
  spillway replay-dlq --dead-letter bad.jsonl --pipeline orders --yes`,
    )
    .action((flags: ReplayFlags) => context.act((host) => replay(host, flags)))
}

interface Asked {
  readonly database: Database
  readonly directory: string
  readonly where: Selection | undefined
  readonly selectedBy: JsonValue
  readonly patch: Patch | undefined
  readonly signal: AbortSignal
}

async function replay(host: Host, flags: ReplayFlags): Promise<Outcome> {
  const limits = limitsOf(flags)
  const loaded = await loadProject(host.projectOption, {
    directory: host.directory,
    env: host.env,
    files: host.ports.files,
  })
  const pipelines = pipelinesOf(loaded, flags.pipeline)
  if (flags.deadLetter !== undefined && flags.pipeline === undefined)
    throw usageError("--dead-letter does not tell whose letters these are", "name their pipeline: --pipeline NAME")
  const patch = flags.patch === undefined ? undefined : await patchOption(flags.patch, host.directory, host.ports.files)
  const progress = textProgress(host.output, host.ports.clock)
  const interrupt = interruptOf(
    host.signals,
    host.ports.clock,
    () => progress.above("stopping after this batch; press Ctrl-C again to stop at once"),
    () => progress.stop(),
  )
  try {
    const { openDatabase } = await import("../../engine/database.ts")
    const database = await openDatabase({ directory: loaded.directory, env: host.env })
    const chosen = await choose(host, database, flags)
    const { signal } = interrupt
    const asked: Asked = { database, directory: loaded.directory, patch, signal, ...chosen }
    const plans = await plansOf(host, pipelines, asked, flags)
    if (plans.length === 0) return nothingChosen(host, flags)
    const text = plans.map(({ plan }) => replayPlanText(plan, flags.patch, host.output.colors)).join("\n\n")
    if (flags.dryRun === true) return { data: { plans: plans.map(({ plan }) => plan), replays: [] }, text }
    if (!host.output.json) host.output.note(text)
    const letters = plans.reduce((sum, { plan }) => sum + plan.letters, 0)
    if (flags.yes !== true && !(await confirm(host, `replay ${plural(letters, "letter")}?`)))
      return { data: { plans: plans.map(({ plan }) => plan), replays: [] }, text: "nothing was replayed" }
    const { replayLetters } = await import("../../engine/replay/replay.ts")
    const reports: ReplayReport[] = []
    for (const { pipeline, plan } of plans) {
      const report = await replayLetters(pipeline, {
        ...asked,
        ...limits,
        ports: host.ports,
        requestedBy: operatingSystemUser(),
        poisoned: flags.poisoned,
        force: flags.force,
        goOn: async (outcomes) => {
          progress.clear()
          const left = plan.letters - sumOf(outcomes)
          if (left <= 0 || flags.yes === true) return true
          return confirm(host, `the first ${figure(sumOf(outcomes))} went well; go on with ${figure(left)}?`)
        },
        on: (outcomes) =>
          progress.show(() => `${pipeline.name}  ${figure(sumOf(outcomes))} of ${plural(plan.letters, "letter")}`),
      })
      reports.push(report)
      if (report.status !== "completed") break
    }
    progress.stop()
    return outcomeOf(host, reports)
  } finally {
    progress.stop()
    interrupt.dispose()
  }
}

function limitsOf(flags: ReplayFlags): { canary?: number; rate?: number; abortAbove?: number } {
  const { canary, rate, abortAbove } = flags
  const ratio = abortAbove === undefined ? undefined : Number(abortAbove)
  if (ratio !== undefined && !(abortAbove?.trim() !== "" && ratio >= 0 && ratio <= 1))
    throw usageError(`--abort-above ${abortAbove} is not a share`, "give a number from 0 to 1, such as 0.1")
  return {
    ...(canary === undefined ? {} : { canary: countOption("--canary", canary, MOST_LETTERS, 1) }),
    ...(rate === undefined ? {} : { rate: countOption("--rate", rate, MOST_LETTERS, 1) }),
    ...(ratio === undefined ? {} : { abortAbove: ratio }),
  }
}

/** What the options choose, and as what the ledger keeps it. */
async function choose(
  host: Host,
  database: Database,
  flags: ReplayFlags,
): Promise<{ where: Selection | undefined; selectedBy: JsonValue }> {
  const fingerprint = await fingerprintOf(database, flags.group)
  const ids = await idsOf(host, database, flags)
  const named: Selection | undefined = ids === undefined ? undefined : { kind: "is", word: "id", values: ids }
  const { filter = null, since = null, deadLetter = null, ids: given = null } = flags
  return {
    where: allOf([selectionOf(flags, fingerprint, host.ports.clock.now()), named]),
    selectedBy: { group: fingerprint ?? null, filter, since, deadLetter, ids: given },
  }
}

async function fingerprintOf(database: Database, group: string | undefined): Promise<string | undefined> {
  if (group === undefined) return undefined
  const { groupNamed, lookAtGroups } = await import("../../dead-letters/groups.ts")
  return inSession(database, async (session) => groupNamed(group, [...(await lookAtGroups(session)).keys()]))
}

async function idsOf(host: Host, database: Database, flags: ReplayFlags): Promise<readonly string[] | undefined> {
  const { pipeline, deadLetter } = flags
  const named = flags.ids?.split(",").map((id) => id.trim())
  if (deadLetter === undefined || pipeline === undefined) return named
  const { importLetters } = await import("../../dead-letters/import.ts")
  const { files, clock } = host.ports
  const path = deadLetter === "-" ? deadLetter : resolve(host.directory, deadLetter)
  const imported = await inSession(database, (session) =>
    importLetters(session, { files, path, stdin: process.stdin, pipeline, now: clock.now() }),
  )
  const { unread, unreadCount } = imported
  for (const { where, reason } of unread) host.output.warn(`${visible(where)}: ${reason}`)
  if (unreadCount > unread.length) host.output.warn(`… and ${figure(unreadCount - unread.length)} more not readable`)
  return named === undefined ? imported.ids : imported.ids.filter((id) => named.includes(id))
}

async function plansOf(
  host: Host,
  pipelines: readonly Pipeline[],
  asked: Asked,
  { dryRun, poisoned }: ReplayFlags,
): Promise<{ pipeline: Pipeline; plan: ReplayPlan }[]> {
  const { planReplay } = await import("../../engine/replay/replay-plan.ts")
  const { pipelinesWithLetters } = await import("../../ledger/replays.ts")
  const plans: { pipeline: Pipeline; plan: ReplayPlan }[] = []
  const open = await inSession(asked.database, (session) => pipelinesWithLetters(session))
  for (const pipeline of pipelines) {
    if (!open.has(pipeline.name)) continue
    const limit = dryRun === true ? {} : { limit: CHECKED_FOR_PLAN }
    const plan = await planReplay(pipeline, { ...asked, ports: host.ports, poisoned, ...limit })
    if (plan.letters > 0) plans.push({ pipeline, plan })
  }
  return plans
}

function nothingChosen(host: Host, flags: ReplayFlags): Outcome {
  host.output.note(
    flags.poisoned === true
      ? "no open letter is chosen: spillway dlq list shows them"
      : "no pending letter is chosen: spillway dlq list shows them; --poisoned takes those that failed three times, too",
  )
  return { data: { plans: [], replays: [] } }
}

function outcomeOf(host: Host, reports: readonly ReplayReport[]): Outcome {
  const loaded = reports.reduce((sum, { outcomes }) => sum + (outcomes["loaded"] ?? 0), 0)
  if (loaded > 0) host.output.note("what is built from these tables follows with: spillway run")
  for (const { error } of reports) if (error !== undefined) host.output.error(error)
  const [error] = reports.flatMap((report) => report.error ?? [])
  return {
    data: { plans: [], replays: reports },
    text: reports.map((report) => replayReportText(report, host.output.colors)).join("\n"),
    exitCode: worst(reports.map(exitCodeOfReplay)),
    error,
  }
}
