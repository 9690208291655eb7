import type { Command } from "commander"
import { parseDuration } from "../../core/duration.ts"
import { namedEvidence } from "../../ledger/evidence.ts"
import { prunableLetters, retentionFamilies, type PrunableLetters, type RetentionFamily } from "../../ledger/expiry.ts"
import {
  defaultRetention,
  pruneOn,
  retentionOf,
  type PruneOptions,
  type PruneReport,
  type RetentionOptions,
} from "../../ledger/retention.ts"
import { figure } from "../../observability/wording.ts"
import { withExistingDatabase } from "../database.ts"
import { recogniseError, usageError } from "../errors.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import { suggestion } from "../nearest.ts"
import type { Outcome } from "../output.ts"
import { loadProject, locateFolder } from "../project.ts"
import { pruneEvidence } from "../prune-evidence.ts"
import { columns } from "../table.ts"

interface PruneFlags {
  dryRun?: boolean
  deadLetters?: string
  olderThan?: string
}

export function pruneCommand(program: Command, context: CommandContext): void {
  program
    .command("prune")
    .description(
      "remove old logs, checkpoints, metrics, check results, touches and runs that nothing needs any more, and evidence that no letter names",
    )
    .option("--dry-run", "count what would be removed; remove nothing")
    .option("--dead-letters <states>", `also dead letters in these states: ${prunableLetters.join(",")}`)
    .option("--older-than <duration>", "with --dead-letters: only those last seen longer ago, such as 90d")
    .addHelpText(
      "after",
      `
How long each is kept is declared in the project: project({ retention: { logs: "30 days", runs: "forever" } }).
Defaults: ${retentionFamilies.map((family) => `${family} ${defaultRetention[family]}`).join(", ")}.
Dead letters go only when they are named; pending and poisoned ones never do. A record whose letter is gone is
set aside anew when it is read again (run --full).

Examples:
  spillway prune --dry-run
  spillway prune
  spillway prune --dead-letters replayed,superseded --older-than 90d`,
    )
    .action((flags: PruneFlags) => context.act((host) => pruneOld(host, flags)))
}

async function pruneOld(host: Host, flags: PruneFlags): Promise<Outcome> {
  const deadLetters = lettersOf(flags)
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const declared = await declaredRetention(host)
  const retention = retentionOf(declared)
  const interrupt = interruptOf(
    host.signals,
    host.ports.clock,
    () => host.output.note("stopping after this batch; what was removed stays removed"),
    () => undefined,
  )
  try {
    const options = { dryRun: flags.dryRun, deadLetters, signal: interrupt.signal }
    const report = await withExistingDatabase(host, directory, async (session) => {
      const rows = await pruneOn(session, retention, host.ports, options)
      const evidence = await pruneEvidence(directory, () => namedEvidence(session), host.ports, {
        dryRun: rows.dryRun,
        signal: interrupt.signal,
      })
      return { ...rows, evidenceFiles: evidence }
    })
    if (report === undefined) {
      host.output.note("nothing has run yet: there is nothing to remove")
      return { data: null }
    }
    const kept = { ...defaultRetention, ...declared }
    return { data: { ...report, retention: kept }, text: reportText(report, kept, flags, host) }
  } finally {
    interrupt.dispose()
  }
}

function lettersOf(flags: PruneFlags): PruneOptions["deadLetters"] {
  if (flags.deadLetters === undefined && flags.olderThan === undefined) return undefined
  if (flags.deadLetters === undefined)
    throw usageError("--older-than is about dead letters", "name them: --dead-letters replayed,discarded,superseded")
  if (flags.olderThan === undefined)
    throw usageError("--dead-letters needs an age", "say how old they have to be: --older-than 90d")
  const statuses = flags.deadLetters.split(",").map((word) => word.trim().toLowerCase())
  for (const status of statuses) {
    if (status === "pending" || status === "poisoned")
      throw usageError(
        `dead letters that are ${status} are never pruned: nobody has dealt with them`,
        `only ${prunableLetters.join(", ")} ones can go`,
      )
    if (!prunableLetters.includes(status as PrunableLetters))
      throw usageError(
        `--dead-letters: ${JSON.stringify(status)} is not a state of dead letters`,
        suggestion(status, prunableLetters, `it takes ${prunableLetters.join(", ")}`),
      )
  }
  return { statuses: statuses as PrunableLetters[], olderThanMs: parseDuration(flags.olderThan, "--older-than") }
}

/** A folder without a project file has the defaults; a project that cannot be loaded may have others, and is an error. */
async function declaredRetention(host: Host): Promise<RetentionOptions> {
  try {
    const loaded = await loadProject(host.projectOption, {
      directory: host.directory,
      env: host.env,
      files: host.ports.files,
    })
    return loaded.project.retention
  } catch (thrown) {
    const error = recogniseError(thrown)
    if (error.context["notFound"] !== true) throw error
    return {}
  }
}

function reportText(
  report: PruneReport & { readonly evidenceFiles: number },
  kept: Readonly<Record<RetentionFamily, string>>,
  flags: PruneFlags,
  host: Host,
): string {
  const { colors } = host.output
  const head = ["what", "kept for", report.dryRun ? "would go" : "removed"].map((word) => colors.dim(word))
  const rows = retentionFamilies.map((family) => [family, kept[family], figure(report.removed[family])])
  rows.push(["evidence (files)", "as its letters", figure(report.evidenceFiles)])
  const letters = report.removed.deadLetters
  if (letters !== undefined)
    rows.push([`dead letters (${flags.deadLetters ?? ""})`, flags.olderThan ?? "", figure(letters)])
  return columns([head, ...rows], { right: [2] }).join("\n")
}
