import type { Command } from "commander"
import { settleHolders } from "../../engine/leasing.ts"
import { forgetPartitions, rememberedPartitions, rememberedPipelines } from "../../ledger/reset.ts"
import type { PartitionUnit } from "../../models/partition-unit.ts"
import { describeSelection, parseSelection, selects, type Selection } from "../../models/selection.ts"
import { plural } from "../../observability/wording.ts"
import type { Session } from "../../postgres/session.ts"
import { confirm } from "../confirm.ts"
import { withExistingDatabase } from "../database.ts"
import { notFound } from "../errors.ts"
import type { CommandContext, Host } from "../host.ts"
import { suggestion } from "../nearest.ts"
import type { Outcome } from "../output.ts"
import { shapeOf } from "../partition-grid.ts"
import { locateFolder } from "../project.ts"

interface ResetFlags {
  partition?: string[]
  year?: string
  month?: string
  from?: string
  to?: string
  yes?: boolean
}

export function resetCommand(program: Command, context: CommandContext): void {
  program
    .command("reset")
    .description(
      "forget that partitions were processed, so that the next run processes them again; no table loses a row",
    )
    .argument("<pipeline>", "whose")
    .option("--partition <key...>", "only these partitions")
    .option("--year <year>", "only those of this year")
    .option("--month <month>", "only those of this month (1 to 12), of every year without --year")
    .option("--from <date>", "only from this year, month or day on: 2011, 2011-03 or 2011-03-09")
    .option("--to <date>", "only up to this year, month or day, included")
    .option("--yes", "do not ask")
    .addHelpText(
      "after",
      `
To read a pipeline's files again without forgetting anything: spillway run PIPELINE --full.

Examples:
  spillway reset fact_sales_monthly --year 2011 --month 3
  spillway reset fact_sales_monthly --from 2011-03 --to 2011-06 --yes
  spillway reset orders --partition data/2026-11-20.csv`,
    )
    .action((pipeline: string, flags: ResetFlags) => context.act((host) => reset(host, pipeline, flags)))
}

async function reset(host: Host, pipeline: string, flags: ResetFlags): Promise<Outcome> {
  const selection = parseSelection(flags)
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const outcome = await withExistingDatabase(host, directory, async (session) => {
    const keys = await chosen(session, pipeline, selection)
    if (keys.length === 0)
      return outcomeOf(
        pipeline,
        [],
        `nothing to forget: the ledger has none of ${pipeline} (${describeSelection(selection)})`,
      )
    const what = `${plural(keys.length, "partition")} of ${pipeline} (${describeSelection(selection)})`
    if (flags.yes !== true && !(await confirm(host, `Forget ${what}, so that the next run processes them again?`)))
      return outcomeOf(pipeline, [], "nothing was forgotten")
    // Leases of a process that was killed on this machine are in nobody's way.
    await settleHolders(session, host.ports.clock, pipeline, "", new AbortController().signal)
    await forgetPartitions(session, pipeline, keys)
    return outcomeOf(pipeline, keys, `forgot ${what}; process them again with: spillway run ${pipeline}`)
  })
  if (outcome === undefined)
    throw notFound(`nothing has run yet: the ledger does not know ${JSON.stringify(pipeline)}`, {
      where: directory,
      hint: "begin with: spillway run",
    })
  return outcome
}

const outcomeOf = (pipeline: string, forgotten: readonly string[], text: string): Outcome => ({
  data: { pipeline, forgotten },
  text,
})

/** The selected partitions that the ledger has. Throws `CONFIG` (not found) for a pipeline or a key that it does not know. */
async function chosen(session: Session, pipeline: string, selection: Selection): Promise<string[]> {
  const known = await rememberedPipelines(session)
  if (!known.includes(pipeline))
    throw notFound(`the ledger does not know a pipeline ${JSON.stringify(pipeline)}`, {
      where: "ops.processed_partitions",
      hint: suggestion(pipeline, known, known.length === 0 ? "nothing has run yet" : `it knows ${known.join(", ")}`),
    })
  const remembered = await rememberedPartitions(session, pipeline)
  const missing = [...(selection.keys ?? [])].find((key) => !remembered.includes(key))
  if (missing !== undefined)
    throw notFound(`the ledger has no partition ${JSON.stringify(missing)} of ${pipeline}`, {
      where: "--partition",
      hint: suggestion(missing, remembered, `see them with: spillway status --partitions ${pipeline}`),
    })
  const unit = unitOf(remembered)
  return remembered.filter((key) => selects(selection, unit, key, ""))
}

/** What the partitions are by their keys: the pipeline may no longer be declared. */
function unitOf(keys: readonly string[]): PartitionUnit | undefined {
  switch (shapeOf(keys)) {
    case "years":
      return { kind: "month" }
    case "weeks":
    case "months":
      return { kind: "day" }
    case undefined:
      return undefined
  }
}
