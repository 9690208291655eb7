import type { Command } from "commander"
import type { SpillwayError } from "../../core/errors.ts"
import type { Pipeline } from "../../engine/definition.ts"
import type { Model } from "../../engine/model/model.ts"
import { partsOf } from "../../engine/project.ts"
import { sinkName } from "../../engine/sink-name.ts"
import { by } from "../../models/partition-unit.ts"
import { plural } from "../../observability/wording.ts"
import { choosePipelines, partitionNoun } from "../choose-pipelines.ts"
import { inSession } from "../database.ts"
import { errorData, errorText, recogniseError, type ErrorData } from "../errors.ts"
import { exitCodeOf, worst } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import type { Outcome } from "../output.ts"
import { loadProject, type LoadedProject } from "../project.ts"

export function checkCommand(program: Command, context: CommandContext): void {
  program
    .command("check")
    .description("test the project without loading anything: its declarations, its sources, its database")
    .argument("[pipeline...]", "only these pipelines' sources")
    .addHelpText(
      "after",
      "\nWrites nothing and starts no server. All faults are told at once.\n\nExamples:\n  spillway check\n  spillway check --project examples/retail",
    )
    .action((names: string[]) => context.act((host) => check(host, names)))
}

interface Finding {
  /** `project`, `database`, or the pipeline. */
  readonly what: string
  readonly found: string
  readonly error: SpillwayError | undefined
}

async function check(host: Host, names: readonly string[]): Promise<Outcome> {
  const loaded = await loadProject(host.projectOption, {
    directory: host.directory,
    env: host.env,
    files: host.ports.files,
  })
  const pipelines = choosePipelines(loaded, names)
  const findings: Finding[] = [
    { what: "project", found: `${plural(pipelines.length, "pipeline")} in ${loaded.file}`, error: undefined },
  ]
  for (const { name, schedule } of pipelines)
    if (schedule !== undefined)
      findings.push(
        await attempt(`schedule of ${name}`, async () => {
          const { checkSchedule } = await import("../../scheduler/cron.ts")
          checkSchedule(schedule, `pipeline ${name}`)
          return `${schedule.cron} (${schedule.timezone})`
        }),
      )
  for (const part of pipelines.flatMap(partsOf))
    findings.push(
      await attempt(part.name, () =>
        part.kind === "model" ? checkModel(host, part) : checkSource(host, loaded, part),
      ),
    )
  findings.push(await attempt("database", () => checkDatabase(host, loaded.directory)))
  return outcomeOf(host, findings)
}

async function attempt(what: string, body: () => Promise<string>): Promise<Finding> {
  try {
    return { what, found: await body(), error: undefined }
  } catch (thrown) {
    return { what, found: "", error: recogniseError(thrown) }
  }
}

async function checkSource(host: Host, loaded: LoadedProject, pipeline: Pipeline): Promise<string> {
  const context = {
    ports: host.ports,
    directory: loaded.directory,
    signal: new AbortController().signal,
    exact: pipeline.schema.exact,
    maxRecordBytes: pipeline.maxRecordBytes,
  }
  const partitions = await pipeline.source.list(context, new Map())
  if (partitions.length === 0) host.output.warn(`pipeline ${pipeline.name}: its source has nothing to read`)
  return `${plural(partitions.length, partitionNoun(pipeline))} at the source (${pipeline.source.kind}) → ${sinkName(pipeline.sink)}`
}

async function checkModel(host: Host, model: Model): Promise<string> {
  const { prepareModel } = await import("../../engine/model/prepared-model.ts")
  await prepareModel(model, host.ports)
  return `${model.reads.map((read) => read.table).join(", ")} → ${model.sink.schema}.${model.sink.name}, by ${by(model.partition)}`
}

async function checkDatabase(host: Host, directory: string): Promise<string> {
  const { databaseSettings, redactUrl } = await import("../../postgres/settings.ts")
  const settings = await databaseSettings(directory, host.env)
  if (settings.kind === "embedded") {
    const { embeddedStatus } = await import("../../postgres/embedded.ts")
    const { state } = await embeddedStatus(directory)
    return `embedded PostgreSQL, ${state === "absent" ? "made by the first run" : state === "stopped" ? "stopped, started by the next run" : state}`
  }
  const { database } = await import("../../postgres/session.ts")
  const version = await inSession(database(settings.url), async (session) => {
    const { rows } = await session.query<{ server_version: string }>("SHOW server_version")
    return rows[0]?.server_version ?? ""
  })
  return `PostgreSQL ${version} at ${redactUrl(settings.url)} (${settings.from})`
}

function outcomeOf(host: Host, findings: readonly Finding[]): Outcome {
  const { colors, verbose } = host.output
  const failed = findings.flatMap(({ what, error }) => (error === undefined ? [] : [{ what, error }]))
  const text = findings
    .map(({ what, found, error }) =>
      error === undefined
        ? `${colors.green("●")} ${colors.bold(what)}: ${found}`
        : `${colors.red("◆")} ${colors.bold(what)}\n${errorText(error, colors, verbose).replace(/^/gm, "  ")}`,
    )
    .join("\n")
  const data = findings.map(
    ({ what, found, error }): { what: string; ok: boolean; found: string | null; error: ErrorData | null } => ({
      what,
      ok: error === undefined,
      found: error === undefined ? found : null,
      error: error === undefined ? null : errorData(error),
    }),
  )
  return {
    data: { findings: data },
    text,
    exitCode: worst(failed.map(({ error }) => exitCodeOf(error))),
    error: failed[0]?.error,
  }
}
