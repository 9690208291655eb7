import { systemPorts } from "../../core/ports.ts"
import { toCondition } from "../../dead-letters/selection.ts"
import { countLetters } from "../../ledger/dead-letter-rows.ts"
import { nextLetters, type LetterPlace } from "../../ledger/replays.ts"
import { database as databaseOf } from "../../postgres/session.ts"
import type { Pipeline } from "../definition.ts"
import type { BatchToCopy } from "../pipeline/copy-batch.ts"
import type { EncodedBatch } from "../pipeline/encode-batch.ts"
import { pipelineLoad } from "../pipeline/pipeline-load.ts"
import { sourceContext } from "../source-context.ts"
import { takeLetters, type LetterContext } from "./letter-path.ts"
import { ReasonTally, type ReplayReason } from "./reasons.ts"
import { requireReplayable, type ReplaySelection } from "./replay.ts"

/** What a replay would do. */
export interface ReplayPlan {
  readonly pipeline: string
  /** Letters that it would take. */
  readonly letters: number
  readonly groups: readonly { readonly fingerprint: string; readonly code: string; readonly letters: number }[]
  /** Letters of these that were taken through the pipeline for this plan; all unless there are more than `limit`. */
  readonly checked: number
  /** Of those checked: what would become of them, the database's own constraints aside. */
  readonly pass: number
  readonly filtered: number
  readonly fail: number
  readonly left: number
  readonly discarded: number
  /** Why letters would fail or be left, the most frequent first. */
  readonly reasons: readonly ReplayReason[]
}

const BATCH = 1_000

/** Takes letters through the pipeline as a replay would, up to the table, and changes nothing. Throws as `replayLetters` does. */
export async function planReplay(
  pipeline: Pipeline,
  options: ReplaySelection & { readonly limit?: number },
): Promise<ReplayPlan> {
  requireReplayable(pipeline)
  const { limit = Infinity, poisoned = false, where: selection } = options
  const { ports = systemPorts, directory = process.cwd(), signal = new AbortController().signal } = options
  const database = typeof options.database === "string" ? databaseOf(options.database) : options.database
  const where = toCondition(selection)
  const session = await database.connect()
  try {
    const context: LetterContext = {
      pipeline,
      target: await pipelineLoad(pipeline).target(session),
      source: sourceContext(pipeline, { ports, directory, signal }),
      patch: options.patch,
    }
    const open = poisoned ? ["pending", "poisoned"] : ["pending"]
    const n = where.values.length
    const counted = await countLetters(session, {
      sql: `${where.sql} AND d.pipeline_name = $${n + 1} AND d.status = ANY($${n + 2}::text[])`,
      values: [...where.values, pipeline.name, open],
    })
    const tally = new PlanTally()
    let after: LetterPlace | undefined
    while (tally.checked < limit) {
      signal.throwIfAborted()
      const wanted = { where, poisoned, after, pipeline: pipeline.name, replayId: undefined }
      const letters = await nextLetters(session, { ...wanted, limit: Math.min(BATCH, limit - tally.checked) }, false)
      if (letters.length === 0) break
      const { taken, left } = await takeLetters(session, context, letters, onlyMade)
      const results = taken.flatMap(({ rows, settled }) => [...rows.values(), ...settled])
      for (const { outcome, reason } of [...left, ...results]) tally.add(outcome, reason)
      after = letters.at(-1)
    }
    return {
      pipeline: pipeline.name,
      letters: counted.reduce((sum, { letters }) => sum + letters, 0),
      groups: groupsOf(counted),
      ...tally.sums(),
    }
  } finally {
    await session.end()
  }
}

function groupsOf(counted: readonly { fingerprint: string; code: string; letters: number }[]): ReplayPlan["groups"] {
  const groups = Map.groupBy(counted, ({ fingerprint }) => fingerprint)
  return [...groups].map(([fingerprint, rows]) => ({
    fingerprint,
    code: rows[0]?.code ?? "",
    letters: rows.reduce((sum, { letters }) => sum + letters, 0),
  }))
}

/** Nothing is copied: the rows are only made. */
const onlyMade = (batch: BatchToCopy): Promise<EncodedBatch> => batch.encode(() => undefined)

class PlanTally {
  checked = 0
  readonly #outcomes = new Map<string, number>()
  readonly #reasons = new ReasonTally()

  add(outcome: string, reason: string | undefined): void {
    this.checked++
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1)
    this.#reasons.add(outcome, reason)
  }

  sums(): Omit<ReplayPlan, "pipeline" | "letters" | "groups"> {
    const of = (outcome: string): number => this.#outcomes.get(outcome) ?? 0
    return {
      checked: this.checked,
      pass: of("loaded"),
      filtered: of("filtered"),
      fail: of("failed"),
      left: of("left"),
      discarded: of("discarded"),
      reasons: this.#reasons.most(),
    }
  }
}
