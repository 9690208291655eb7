import { SpillwayError } from "../core/errors.ts"
import type { SourcePartition } from "../core/contracts.ts"
import type { PartitionReason } from "../core/events.ts"
import { canonicalJson } from "../core/json.ts"
import type { Ports } from "../core/ports.ts"
import { isAtWork, releaseLeases, type HeldLease } from "../ledger/leases.ts"
import {
  knownPartitions,
  markVanished,
  publishedBefore,
  refreshStamps,
  takePartitionNumbers,
  type LedgerPartition,
} from "../ledger/partitions.ts"
import { stagedProgress } from "../ledger/progress.ts"
import { latestRun, type RunRow } from "../ledger/runs.ts"
import type { Session } from "../postgres/session.ts"
import type { Pipeline } from "./definition.ts"
import { acquireLeases, settleHolders } from "./leasing.ts"
import { reasonFor, type PlannedPartition } from "./plan.ts"

/** What a run is to do, with the leases for it taken. */
export interface Work {
  readonly total: number
  readonly unchanged: number
  readonly planned: readonly PlannedPartition[]
  readonly reasons: Partial<Record<PartitionReason, number>>
  /** Leases that another run holds. */
  readonly busy: readonly HeldLease[]
  /** The interrupted run that this one continues. */
  readonly resumes: RunRow | undefined
  readonly warnings: readonly SpillwayError[]
}

export interface ChooseOptions {
  readonly directory: string
  readonly ports: Ports
  readonly holder: string
  readonly full: boolean
  readonly partitions: readonly string[] | undefined
  readonly definitionVersion: string
  readonly signal: AbortSignal
}

/** Lists the source, compares it with the ledger and takes the leases of what is to be done. */
export async function chooseWork(session: Session, pipeline: Pipeline, options: ChooseOptions): Promise<Work> {
  await settleHolders(session, options.ports.clock, pipeline.name, options.holder, options.signal)
  const before = await knownPartitions(session, pipeline.name)
  const listed = await listSource(pipeline, options, before)
  const interrupted = await interruptedRun(session, pipeline.name)
  const matches = interrupted?.definitionVersion === options.definitionVersion && interrupted.full === options.full
  const candidate = matches ? interrupted : undefined
  const reason = (partition: SourcePartition, known: ReadonlyMap<string, LedgerPartition>): PartitionReason =>
    reasonFor(partition, known.get(partition.key), { full: options.full, runId: candidate?.runId })

  const chosen = selected(listed, options.partitions).filter((partition) => reason(partition, before) !== "unchanged")
  const request = {
    pipeline: pipeline.name,
    keys: chosen.map((p) => p.key),
    holder: options.holder,
    leaseMs: pipeline.leaseMs,
  }
  const { epochs, busy } = await acquireLeases(session, options.ports.clock, request, options.signal)

  // Another run may have finished some of it between the list and the lease.
  const known = await knownPartitions(session, pipeline.name)
  const todo = chosen.filter((partition) => epochs.has(partition.key) && reason(partition, known) !== "unchanged")
  const done = chosen.filter((partition) => epochs.has(partition.key) && !todo.includes(partition))
  if (done.length > 0)
    await releaseLeases(
      session,
      options.holder,
      done.map((p) => p.key),
    )

  const unchanged = listed.filter((partition) => reason(partition, known) === "unchanged")
  await refreshStamps(
    session,
    pipeline.name,
    unchanged.filter((p) => hasNews(p, known.get(p.key))),
  )

  const alive = interrupted?.holder != null && (await isAtWork(session, interrupted.holder))
  const resumes = alive ? undefined : candidate
  const numbers = await numbersFor(session, todo, known, resumes)
  const inTable = await publishedBefore(
    session,
    pipeline.name,
    todo.map((partition) => partition.key),
  )
  const planned = todo.map((partition): PlannedPartition => ({
    partition,
    reason: reason(partition, known),
    seq: numbers.get(partition.key) ?? 0,
    epoch: epochs.get(partition.key) ?? 0,
    replaces: inTable.has(partition.key),
  }))
  const reasons: Partial<Record<PartitionReason, number>> = {}
  for (const plan of planned) reasons[plan.reason] = (reasons[plan.reason] ?? 0) + 1
  return {
    total: listed.length,
    unchanged: listed.length - planned.length - busy.length,
    planned,
    reasons,
    busy,
    resumes,
    warnings: await warningsFor(session, pipeline, listed, before),
  }
}

function listSource(
  pipeline: Pipeline,
  options: ChooseOptions,
  known: ReadonlyMap<string, LedgerPartition>,
): Promise<readonly SourcePartition[]> {
  const context = {
    ports: options.ports,
    directory: options.directory,
    signal: options.signal,
    exact: pipeline.schema.exact,
    maxRecordBytes: pipeline.maxRecordBytes,
  }
  return pipeline.source.list(context, known)
}

/** An unchanged partition whose stamp is to be kept: it was touched, or hashed too soon after a change, or came back. */
const hasNews = (partition: SourcePartition, known: LedgerPartition | undefined): boolean =>
  known !== undefined && (known.vanished || canonicalJson(known.stamp) !== canonicalJson(partition.stamp))

async function interruptedRun(session: Session, pipeline: string): Promise<RunRow | undefined> {
  const latest = await latestRun(session, pipeline)
  return latest !== undefined && ["running", "cancelled", "failed"].includes(latest.status) ? latest : undefined
}

function selected(listed: readonly SourcePartition[], keys: readonly string[] | undefined): readonly SourcePartition[] {
  if (keys === undefined) return listed
  const there = new Set(listed.map((partition) => partition.key))
  const unknown = keys.filter((key) => !there.has(key))
  if (unknown.length > 0)
    throw new SpillwayError(
      "CONFIG",
      `the source has no partition ${unknown.map((key) => JSON.stringify(key)).join(", ")}`,
      {
        hint:
          listed.length === 0
            ? "it has none at all"
            : `it has ${listed.length}, such as ${JSON.stringify(listed[0]?.key)}`,
        context: { notFound: true },
      },
    )
  return listed.filter((partition) => keys.includes(partition.key))
}

/** A version that was numbered before keeps its number, so that reading it again gives the same `_seq`. */
async function numbersFor(
  session: Session,
  todo: readonly SourcePartition[],
  known: ReadonlyMap<string, LedgerPartition>,
  resumes: RunRow | undefined,
): Promise<Map<string, number>> {
  const staged = new Map(
    (resumes === undefined ? [] : await stagedProgress(session, resumes.runId)).map((p) => [p.key, p]),
  )
  const numbers = new Map<string, number>()
  for (const { key, version } of todo) {
    const earlier = [staged.get(key), known.get(key)].find((entry) => entry?.version === version)
    if (earlier !== undefined) numbers.set(key, earlier.seq)
  }
  const unnumbered = todo.filter((partition) => !numbers.has(partition.key))
  const fresh = await takePartitionNumbers(session, unnumbered.length)
  for (const [n, partition] of unnumbered.entries()) numbers.set(partition.key, fresh[n] ?? 0)
  return numbers
}

async function warningsFor(
  session: Session,
  pipeline: Pipeline,
  listed: readonly SourcePartition[],
  known: ReadonlyMap<string, LedgerPartition>,
): Promise<SpillwayError[]> {
  const warnings: SpillwayError[] = []
  if (listed.length === 0)
    warnings.push(
      new SpillwayError(
        "DATA_LOSS",
        `the source of "${pipeline.name}" has nothing to read${known.size > 0 ? `, though it once had ${known.size} partitions` : ""}`,
        {
          hint: "check the path, the address or the pattern",
        },
      ),
    )
  const there = new Set(listed.map((partition) => partition.key))
  const gone = [...known.values()]
    .filter((partition) => !partition.vanished && !there.has(partition.key))
    .map((partition) => partition.key)
  for (const key of await markVanished(session, pipeline.name, gone))
    warnings.push(
      new SpillwayError("DATA_LOSS", `${key} was loaded before and is gone from the source; its rows stay`, {
        where: key,
        hint: "if it was removed on purpose, nothing is to be done; otherwise restore it",
      }),
    )
  return warnings
}
