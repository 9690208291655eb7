import { partitionName } from "../core/partition-name.ts"
import { SpillwayError } from "../core/errors.ts"
import type { SourcePartition } from "../core/contracts.ts"
import type { PartitionReason } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"
import { isAtWork, releaseLeases, type HeldLease } from "../ledger/leases.ts"
import { knownPartitions, publishedBefore, takePartitionNumbers, type PublishedVersion } from "../ledger/partitions.ts"
import { stagedProgress } from "../ledger/progress.ts"
import { latestRun, resumeRun, type RunRow } from "../ledger/runs.ts"
import type { Session } from "../postgres/session.ts"
import { acquireLeases, settleHolders } from "./leasing.ts"
import type { Load, Reason } from "./load.ts"
import type { PlannedPartition } from "./plan.ts"

/** What a run is to do, with the leases for it taken. */
export interface Work {
  readonly total: number
  readonly unchanged: number
  readonly planned: readonly PlannedPartition[]
  readonly reasons: Partial<Record<PartitionReason, number>>
  /** Leases that another run holds. */
  readonly busy: readonly HeldLease[]
  /** The interrupted run that this one continues, with the attempt that this one is. */
  readonly resumes: RunRow | undefined
  readonly warnings: readonly SpillwayError[]
}

/** Narrows what is done by key and by why it is to be done. */
export interface PartitionFilter {
  /** Such as `2010-12`, for people. */
  readonly words: string
  /** Keys are asked for, so that it is a mistake when there is none of them. */
  readonly byKey: boolean
  matches(key: string, reason: PartitionReason): boolean
}

export interface ChooseOptions {
  readonly directory: string
  readonly ports: Ports
  readonly holder: string
  readonly full: boolean
  readonly partitions: readonly string[] | undefined
  readonly select: PartitionFilter | undefined
  readonly signal: AbortSignal
}

/** Lists the partitions, compares them with the ledger and takes the leases of what is to be done. */
export async function chooseWork(session: Session, load: Load, options: ChooseOptions): Promise<Work> {
  await settleHolders(session, options.ports.clock, load.name, options.holder, options.signal)
  const before = await knownPartitions(session, load.name)
  const interrupted = await interruptedRun(session, load.name)
  const matches =
    load.resumable && interrupted?.definitionVersion === load.definitionVersion && interrupted.full === options.full
  const candidate = matches ? interrupted : undefined
  const unfinished = candidate && (await stagedProgress(session, candidate.runId)).map(({ key }) => key)
  const listed = await load.list(session, before, { ...options, unfinished, readOnly: false })
  const standing = { full: options.full, runId: candidate?.runId }

  const named = selected(load, listed, options)
  const at = await load.reasons(session, named, before, standing)
  const { select } = options
  const asked = named.filter(({ key }) => select?.matches(key, at.get(key)?.reason ?? "unchanged") ?? true)
  if (select?.byKey === true && asked.length === 0 && listed.length > 0)
    throw noneOf(load, `of ${select.words}`, listed)
  const chosen = toDo(asked, at)
  const request = {
    pipeline: load.name,
    keys: chosen.map(({ partition }) => partition.key),
    holder: options.holder,
    leaseMs: load.leaseMs,
  }
  const { epochs, busy } = await acquireLeases(session, options.ports.clock, request, options.signal)

  // Another run may have finished some of it between the list and the lease.
  const known = await knownPartitions(session, load.name)
  const mine = chosen.filter(({ partition }) => epochs.has(partition.key)).map(({ partition }) => partition)
  const now = await load.reasons(session, listed, known, standing)
  const todo = toDo(mine, now)
  const keys = new Set(todo.map(({ partition }) => partition.key))
  const done = mine.filter((partition) => !keys.has(partition.key)).map((partition) => partition.key)
  if (done.length > 0) await releaseLeases(session, options.holder, done)

  const unchanged = listed.filter((partition) => now.get(partition.key)?.reason === "unchanged")
  const warnings = await load.afterList(session, listed, before, unchanged)

  const alive = interrupted?.holder != null && (await isAtWork(session, interrupted.holder))
  // Runs of other partitions may see the same interrupted run; one of them resumes it, the others are runs of their own.
  const free = !alive && (todo.length > 0 || busy.length === 0) ? candidate : undefined
  const attempt = free && (await resumeRun(session, free, options.holder))
  const resumes = free === undefined || attempt === undefined ? undefined : { ...free, attempt }
  const partitions = todo.map(({ partition }) => partition)
  const inTable = await publishedBefore(session, load.name, [...keys])
  const numbers = await numbersFor(session, partitions, [known, inTable], resumes)
  const planned = todo.map(({ partition, reason }): PlannedPartition => ({
    partition,
    reason: reason.reason,
    detail: reason.detail,
    seq: numbers.get(partition.key) ?? 0,
    epoch: epochs.get(partition.key) ?? 0,
    replaces: inTable.has(partition.key) && partition.after === undefined && partition.keepsRows !== true,
  }))
  const reasons: Partial<Record<PartitionReason, number>> = {}
  for (const plan of planned) reasons[plan.reason] = (reasons[plan.reason] ?? 0) + 1
  return {
    total: asked.length,
    unchanged: asked.length - planned.length - busy.length,
    planned,
    reasons,
    busy,
    resumes,
    warnings,
  }
}

/** Those of the partitions that are not unchanged, with the reason. */
const toDo = (
  partitions: readonly SourcePartition[],
  reasons: ReadonlyMap<string, Reason>,
): { partition: SourcePartition; reason: Reason }[] =>
  partitions.flatMap((partition) => {
    const reason = reasons.get(partition.key)
    return reason === undefined || reason.reason === "unchanged" ? [] : [{ partition, reason }]
  })

async function interruptedRun(session: Session, pipeline: string): Promise<RunRow | undefined> {
  const latest = await latestRun(session, pipeline)
  return latest !== undefined && ["running", "cancelled", "failed"].includes(latest.status) ? latest : undefined
}

function selected(
  load: Load,
  listed: readonly SourcePartition[],
  { partitions: keys }: ChooseOptions,
): readonly SourcePartition[] {
  if (keys === undefined) return listed
  const isAsked = (key: string, asked: string): boolean => asked === key || asked === partitionName(key, load.isDated)
  const unknown = keys.filter((asked) => !listed.some(({ key }) => isAsked(key, asked)))
  if (unknown.length > 0) throw noneOf(load, unknown.map((key) => JSON.stringify(key)).join(", "), listed)
  return listed.filter(({ key }) => keys.some((asked) => isAsked(key, asked)))
}

function noneOf(load: Load, words: string, listed: readonly SourcePartition[]): SpillwayError {
  const [first, last] = [listed[0]?.key, listed.at(-1)?.key]
  return new SpillwayError("CONFIG", `${load.kind} "${load.name}" has no partition ${words}`, {
    where: `${load.kind} ${load.name}`,
    hint: first === undefined ? "it has none at all" : `it has ${listed.length}, from ${first} to ${last}`,
    context: { notFound: true },
  })
}

/** A version that was numbered before keeps its number, so that reading it again gives the same `_seq`. */
async function numbersFor(
  session: Session,
  todo: readonly SourcePartition[],
  earlier: readonly ReadonlyMap<string, PublishedVersion>[],
  resumes: RunRow | undefined,
): Promise<Map<string, number>> {
  const staged = new Map(
    (resumes === undefined ? [] : await stagedProgress(session, resumes.runId)).map((p) => [p.key, p]),
  )
  const numbers = new Map<string, number>()
  for (const { key, version } of todo) {
    const same = [staged, ...earlier].map((versions) => versions.get(key)).find((entry) => entry?.version === version)
    if (same !== undefined) numbers.set(key, same.seq)
  }
  const unnumbered = todo.filter((partition) => !numbers.has(partition.key))
  const fresh = await takePartitionNumbers(session, unnumbered.length)
  for (const [n, partition] of unnumbered.entries()) numbers.set(partition.key, fresh[n] ?? 0)
  return numbers
}
