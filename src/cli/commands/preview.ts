import type { Command } from "commander"
import { choosePipelines } from "../choose-pipelines.ts"
import { usageError } from "../errors.ts"
import { exitCodes } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import type { Outcome } from "../output.ts"
import { maskingOf, withReveal } from "../letter-options.ts"
import { previewText } from "../preview-text.ts"
import { loadProject } from "../project.ts"

interface PreviewFlags {
  limit: string
  partition?: string
  reveal?: string[]
}

export function previewCommand(program: Command, context: CommandContext): void {
  withReveal(program.command("preview"))
    .description("show the first records at every step, side by side; writes nothing and needs no database")
    .argument("<pipeline>", "its name")
    .option("--limit <n>", "how many records", "5")
    .option("--partition <key>", "of this partition (file)")
    .addHelpText(
      "after",
      "\nExamples:\n  spillway preview orders\n  spillway preview orders --limit 20 --partition data/2026-11-20.csv",
    )
    .action((name: string, flags: PreviewFlags) => context.act((host) => preview(host, name, flags)))
}

async function preview(host: Host, name: string, flags: PreviewFlags): Promise<Outcome> {
  const limit = Number(flags.limit)
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000)
    throw usageError(`--limit ${flags.limit} is not a number of records`, "give a whole number from 1 to 10000")
  const loaded = await loadProject(host.projectOption, {
    directory: host.directory,
    env: host.env,
    files: host.ports.files,
  })
  const [pipeline] = choosePipelines(loaded, [name])
  if (pipeline?.kind !== "pipeline")
    throw usageError(
      `${name} is made by SQL: there are no records to follow`,
      "see what it would do with: spillway run --dry-run " + name,
    )
  const { previewPipeline } = await import("../../engine/preview.ts")
  const records = await previewPipeline(pipeline, {
    directory: loaded.directory,
    ports: host.ports,
    limit,
    partition: flags.partition,
    masking: maskingOf(flags),
  })
  if (records.length === 0) host.output.note("the source has no records")
  const { colors, width } = host.output
  return {
    data: records,
    text: records.map((record) => previewText(record, colors, width)).join("\n\n"),
    exitCode: exitCodes.ok,
  }
}
