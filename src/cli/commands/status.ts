import type { Command } from "commander"
import type { ErrorCode } from "../../core/errors.ts"
import { isErrorCode } from "../../core/error-catalog.ts"
import { redact } from "../../core/secrets.ts"
import type { PartitionPlan } from "../../engine/plan-partitions.ts"
import { partsOf, type Runnable } from "../../engine/project.ts"
import { overduePartitions, partitionStates, withPlan, type PartitionState } from "../../ledger/partition-states.ts"
import { readStatus, type PipelineStatus } from "../../ledger/status.ts"
import type { Session } from "../../postgres/session.ts"
import { withExistingDatabase } from "../database.ts"
import { notFound, recogniseError, usageError } from "../errors.ts"
import { exitCodes } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import { suggestion } from "../nearest.ts"
import type { Outcome } from "../output.ts"
import { legend, partitionGrid, partitionList, showsUnicode, type GridStyle } from "../partition-grid.ts"
import { loadProject, locateFolder, type LoadedProject } from "../project.ts"
import { statusText, troubles, wasInterrupted, type StatusView } from "../status-text.ts"

interface StatusFlags {
  check?: boolean
  watch?: boolean
  partitions?: string
}

const WATCH_EVERY_MS = 2_000
const CLEAR_SCREEN = "\u001b[2J\u001b[3J\u001b[H"

/** The overview does not go through more partitions of a pipeline one by one; it gives their number. */
const MOST_PARTITIONS = 20_000

export function statusCommand(program: Command, context: CommandContext): void {
  program
    .command("status")
    .description("say how each pipeline is: its last run, its partitions, what was set aside, who is at work")
    .option("--partitions <pipeline>", "list every partition of one pipeline: state, when built, rows, why, what to do")
    .option(
      "--check",
      "exit 3 when a last run failed, is partial or was interrupted, or a partition is held, failed, stale or overdue",
    )
    .option("--watch", "look again every two seconds, until Ctrl-C (on a terminal)")
    .addHelpText(
      "after",
      `
Partitions: ● done  ◐ in progress  ▲ stale  ○ missing  ◆ failed  · none (letters where the terminal is not UTF-8)

Examples:
  spillway status
  spillway status --partitions fact_sales_monthly
  spillway status --check || notify-somebody
  spillway status --json | jq '.data.pipelines[].lastRun.status'`,
    )
    .action((flags: StatusFlags) => context.act((host) => status(host, flags)))
}

async function status(host: Host, flags: StatusFlags): Promise<Outcome> {
  if (flags.watch && (host.output.json || !host.output.terminal))
    throw usageError("--watch needs a terminal", "leave out --watch; in a script, call spillway status --check in turn")
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const project = await declaredProject(host)
  const runnables = project?.project.pipelines ?? []
  const declared = runnables.flatMap((runnable) =>
    runnable.kind === "stages" ? [runnable.name, ...partsOf(runnable).map((part) => part.name)] : [runnable.name],
  )
  const plan = (session: Session, name: string): Promise<PartitionPlan[]> =>
    planOf(session, host, { name, runnables, directory, alsoSources: flags.partitions === name })
  const found = await withExistingDatabase(host, directory, async (session) => {
    while (flags.watch && !host.output.closed) {
      const { text } = outcomeOf(host, flags, declared, await look(session, host, flags, plan))
      await host.output.data(`${CLEAR_SCREEN}${text}\n`)
      await host.ports.clock.sleep(WATCH_EVERY_MS)
    }
    return look(session, host, flags, plan)
  })
  const view = found ?? nothingThere(host)
  if (view.pipelines.size === 0) host.output.note("nothing has run yet; begin with: spillway run")
  return outcomeOf(host, flags, declared, view)
}

/** Undefined, with a warning, where the project cannot be loaded: the ledger can be shown all the same. */
async function declaredProject(host: Host): Promise<LoadedProject | undefined> {
  try {
    return await loadProject(host.projectOption, { directory: host.directory, env: host.env, files: host.ports.files })
  } catch (thrown) {
    const error = recogniseError(thrown)
    host.output.warn(`the project cannot be loaded, so only what has run is shown (${error.message})`)
    return undefined
  }
}

/**
 * What the next run would do about the partitions of a pipeline or model. A model's are found in the database; to look at a
 * pipeline's source takes longer, and is done where it is asked about by name.
 */
async function planOf(
  session: Session,
  host: Host,
  asked: { name: string; runnables: readonly Runnable[]; directory: string; alsoSources: boolean },
): Promise<PartitionPlan[]> {
  const part = asked.runnables.flatMap(partsOf).find(({ name }) => name === asked.name)
  if (part === undefined || (part.kind === "pipeline" && !asked.alsoSources)) return []
  const { planPart } = await import("../../engine/plan-partitions.ts")
  try {
    return await planPart(session, part, { directory: asked.directory, ports: host.ports })
  } catch (thrown) {
    host.output.warn(`what is to be done for ${part.name} cannot be told: ${recogniseError(thrown).message}`)
    return []
  }
}

const nothingThere = (host: Host): StatusView => ({
  now: new Date(host.ports.clock.now()),
  pipelines: new Map(),
  partitions: new Map(),
  overdue: new Map(),
  breakers: [],
  budgets: [],
})

async function look(
  session: Session,
  host: Host,
  flags: StatusFlags,
  plan: (session: Session, name: string) => Promise<PartitionPlan[]>,
): Promise<StatusView> {
  const { now, pipelines, breakers, budgets } = await readStatus(session)
  const wanted = [...pipelines.values()].filter((known) =>
    flags.partitions === undefined
      ? host.output.json || numberOf(known.partitions) <= MOST_PARTITIONS
      : known.pipeline === flags.partitions,
  )
  const partitions = new Map<string, PartitionState[]>()
  for (const { pipeline } of wanted)
    partitions.set(pipeline, withPlan(await partitionStates(session, pipeline), await plan(session, pipeline)))
  return { now, pipelines, partitions, overdue: await overduePartitions(session), breakers, budgets }
}

const numberOf = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((sum, n) => sum + n, 0)

const styleOf = (host: Host): GridStyle => ({ colors: host.output.colors, unicode: showsUnicode(host.env) })

function outcomeOf(host: Host, flags: StatusFlags, declared: readonly string[], view: StatusView): Outcome {
  const known = [...new Set([...declared, ...view.pipelines.keys()])]
  const names = flags.partitions === undefined ? known : [requireKnown(flags.partitions, known)]
  const pipelines = names.map((name) => pipelineData(name, view))
  const degraded = pipelines.filter((pipeline) => pipeline.degraded)
  const failing = flags.check === true && degraded.length > 0
  const message = degraded.map((pipeline) => `${pipeline.pipeline}: ${pipeline.troubles.join(", ")}`).join("; ")
  if (failing) host.output.note(`degraded: ${message}`)
  return {
    data: { pipelines, breakers: view.breakers, budgets: view.budgets, degraded: degraded.length > 0, at: view.now },
    text:
      flags.partitions === undefined
        ? statusText(declared, view, styleOf(host))
        : partitionsText(view.partitions.get(flags.partitions) ?? [], styleOf(host)),
    exitCode: failing ? exitCodes.degraded : exitCodes.ok,
    error: failing
      ? { code: codeOf(degraded[0]?.pipeline, view.pipelines), message, hint: "spillway status tells what to do" }
      : undefined,
  }
}

function requireKnown(name: string, known: readonly string[]): string {
  if (known.includes(name)) return name
  throw notFound(`there is no pipeline ${JSON.stringify(name)}`, {
    where: "--partitions",
    hint: suggestion(name, known, known.length === 0 ? "nothing is declared, and nothing has run" : known.join(", ")),
  })
}

/** What `--json` has of a pipeline. */
function pipelineData(name: string, view: StatusView) {
  const known = view.pipelines.get(name)
  const partitionStates = view.partitions.get(name) ?? []
  const overdue = view.overdue.get(name) ?? []
  if (known === undefined)
    return { pipeline: name, lastRun: null, degraded: false, troubles: [], partitionStates, overdue }
  const wrong = troubles(known, view)
  const lastRun = known.lastRun === undefined ? null : { ...known.lastRun, interrupted: wasInterrupted(known.lastRun) }
  return { ...known, lastRun, degraded: wrong.length > 0, troubles: wrong, partitionStates, overdue }
}

function partitionsText(states: readonly PartitionState[], style: GridStyle): string {
  if (states.length === 0) return "no partitions yet"
  const grid = partitionGrid(states, style)
  return redact([legend(states, style), ...grid, "", ...partitionList(states, style)].join("\n"))
}

/** The code of what is wrong with a pipeline. */
function codeOf(pipeline: string | undefined, known: ReadonlyMap<string, PipelineStatus>): ErrorCode {
  const found = pipeline === undefined ? undefined : known.get(pipeline)
  const code = found?.held[0]?.code ?? found?.lastRun?.error?.code ?? "UNKNOWN"
  return isErrorCode(code) ? code : "UNKNOWN"
}
