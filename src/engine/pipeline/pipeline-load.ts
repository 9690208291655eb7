import type { SourcePartition } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import { canonicalJson } from "../../core/json.ts"
import { markVanished, refreshStamps, type LedgerPartition } from "../../ledger/partitions.ts"
import { writeSecretFields } from "../../ledger/secret-fields.ts"
import { addedColumns } from "../../postgres/evolve.ts"
import type { Session } from "../../postgres/session.ts"
import { qualifiedName } from "../../postgres/target.ts"
import { secretFields, type Pipeline } from "../definition.ts"
import { definitionVersion } from "../definition-version.ts"
import { FileOutput } from "../files/file-output.ts"
import type { Load } from "../load.ts"
import { PipelineStager } from "./pipeline-stager.ts"
import { reasonFor } from "../plan.ts"
import { sinkName } from "../sink-name.ts"
import { sourceContext } from "../source-context.ts"
import { targetOf, withColumns } from "../target-of.ts"

/** A pipeline as something to load: its partitions are those of its source. */
export function pipelineLoad(pipeline: Pipeline): Load {
  const { source, sink } = pipeline
  const target = targetOf(pipeline)
  return {
    kind: "pipeline",
    name: pipeline.name,
    definitionVersion: definitionVersion(pipeline),
    table: sinkName(sink),
    output: sink.kind === "file" ? new FileOutput(sink) : undefined,
    checks: pipeline.checks,
    publish: pipeline.publish,
    leaseMs: pipeline.leaseMs,
    groupBytes: 4 << 20,
    files: source.unit === "file",
    months: false,
    resumable: true,
    isDated: source.dividedBy !== undefined,
    target: async (session) =>
      pipeline.onNewColumn === "evolve"
        ? withColumns(target, await addedColumns(session, qualifiedName(target), pipeline.name))
        : target,
    list: (_session, known, context) => source.list(sourceContext(pipeline, context), known),
    reasons: (_session, listed, known, options) =>
      Promise.resolve(
        new Map(
          listed.map((partition) => [
            partition.key,
            { reason: reasonFor(partition, known.get(partition.key), options), detail: undefined },
          ]),
        ),
      ),
    async afterList(session, listed, before, unchanged) {
      const news = unchanged.filter((partition) => hasNews(partition, before.get(partition.key)))
      await refreshStamps(session, pipeline.name, news)
      await writeSecretFields(session, pipeline.name, secretFields(pipeline))
      return whatIsGone(session, pipeline, listed, before)
    },
    countRows: () => Promise.resolve(undefined),
    stager: (context, connection) => new PipelineStager(pipeline, context, connection),
  }
}

/** An unchanged partition whose stamp is to be kept: it was touched, or hashed too soon after a change, or came back. */
const hasNews = (partition: SourcePartition, known: LedgerPartition | undefined): boolean =>
  known !== undefined && (known.vanished || canonicalJson(known.stamp) !== canonicalJson(partition.stamp))

async function whatIsGone(
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
        { hint: "check the path, the address or the pattern" },
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
