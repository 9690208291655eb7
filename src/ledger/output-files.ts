import type { Session } from "../postgres/session.ts"

/** A file that a partition was published into. */
export interface OutputFileEntry {
  readonly name: string
  readonly records: number
}

export type FilesByPartition = ReadonlyMap<string, readonly OutputFileEntry[]>

/** The files of every partition that the ledger knows of a pipeline; none for those that were never published. */
export async function outputFiles(session: Session, pipeline: string): Promise<FilesByPartition> {
  const { rows } = await session.query<{ partition_key: string; files: OutputFileEntry[] | null }>(
    `SELECT partition_key, position->'files' AS files FROM ops.source_positions WHERE pipeline_name = $1`,
    [pipeline],
  )
  return new Map(rows.map(({ partition_key, files }) => [partition_key, files ?? []]))
}

/**
 * Those of the partitions that nobody is publishing, with their files; nobody begins to until the transaction ends. `tried`: an
 * earlier run has worked at it, so that what it left is known to be nobody else's.
 */
export async function lockOutputFiles(
  session: Session,
  pipeline: string,
  keys: readonly string[],
): Promise<{ key: string; files: readonly OutputFileEntry[]; tried: boolean }[]> {
  const { rows } = await session.query<{ key: string; files: OutputFileEntry[] | null; tried: boolean }>(
    `SELECT partition_key AS key, position->'files' AS files, epoch > 1 OR position->'files' IS NOT NULL AS tried
     FROM ops.source_positions
     WHERE pipeline_name = $1 AND partition_key = ANY($2::text[]) ORDER BY partition_key FOR UPDATE SKIP LOCKED`,
    [pipeline, keys],
  )
  return rows.map((row) => ({ ...row, files: row.files ?? [] }))
}

/** Notes the files that partitions are published into, at positions that the caller's transaction has moved on. */
export async function noteOutputFiles(session: Session, pipeline: string, files: FilesByPartition): Promise<void> {
  await session.query(
    `UPDATE ops.source_positions p SET position = p.position || jsonb_build_object('files', v.files)
     FROM jsonb_to_recordset($2) v(key text, files jsonb)
     WHERE p.pipeline_name = $1 AND p.partition_key = v.key`,
    [pipeline, JSON.stringify([...files].map(([key, entries]) => ({ key, files: entries })))],
  )
}
