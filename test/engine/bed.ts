import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import pg from "pg"
import type { RunEvent } from "../../src/core/events.ts"
import type { Pipeline } from "../../src/engine/definition.ts"
import type { RunReport } from "../../src/engine/report.ts"
import { runPipeline, type RunOptions } from "../../src/engine/run.ts"
import { throwAwayDatabase } from "../../src/testing/index.ts"
import { testDatabaseUrl } from "../postgres/server.ts"

type Row = Record<string, unknown>

/** A database of its own with the `ops` schema, a folder for files, and a run over both. */
export interface Bed {
  readonly url: string
  readonly directory: string
  /** Events of the last run. */
  readonly events: readonly RunEvent[]
  run(pipeline: Pipeline, options?: Partial<RunOptions>): Promise<RunReport>
  rows<T = Row>(sql: string, values?: unknown[]): Promise<T[]>
  /** The first column of the first row. */
  value<T = string>(sql: string, values?: unknown[]): Promise<T>
  write(name: string, content: string | Uint8Array): Promise<void>
  remove(name: string): Promise<void>
  eventsOf<T extends RunEvent["type"]>(type: T): Extract<RunEvent, { type: T }>[]
  end(): Promise<void>
}

export async function testBed(): Promise<Bed> {
  const database = await throwAwayDatabase({ url: await testDatabaseUrl() })
  const directory = await mkdtemp(join(tmpdir(), "spillway-engine-"))
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  let events: RunEvent[] = []
  const rows = async <T>(sql: string, values: unknown[] = []): Promise<T[]> =>
    (await client.query(sql, values)).rows as T[]
  return {
    url: database.url,
    directory,
    get events() {
      return events
    },
    run(pipeline, options = {}) {
      events = []
      return runPipeline(pipeline, { database: database.url, directory, on: (event) => events.push(event), ...options })
    },
    rows,
    async value<T>(sql: string, values: unknown[] = []) {
      return Object.values((await rows<Row>(sql, values))[0] ?? {})[0] as T
    },
    async write(name, content) {
      await mkdir(dirname(join(directory, name)), { recursive: true })
      await writeFile(join(directory, name), content)
    },
    remove: (name) => rm(join(directory, name)),
    eventsOf: <T extends RunEvent["type"]>(type: T) =>
      events.filter((event): event is Extract<RunEvent, { type: T }> => event.type === type),
    async end() {
      await client.end()
      await database.drop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** `read + expanded = …`, from what the ledger wrote down; the text of every partition where it does not hold. */
export async function unbalanced(bed: Bed, pipeline: string): Promise<string[]> {
  const found = await bed.rows<{ partition_key: string; counts: Record<string, number> }>(
    `SELECT partition_key, counts FROM ops.processed_partitions WHERE pipeline_name = $1 AND status = 'completed'
     AND (counts->>'read')::bigint + (counts->>'expanded')::bigint <>
         (counts->>'inserted')::bigint + (counts->>'updated')::bigint + (counts->>'unchanged')::bigint + (counts->>'duplicate')::bigint
         + (counts->>'superseded')::bigint + (counts->>'filtered')::bigint + (counts->>'deadLettered')::bigint`,
    [pipeline],
  )
  return found.map((row) => `${row.partition_key}: ${JSON.stringify(row.counts)}`)
}

/** A text that changes when any row of the table is written, even with the same values. */
export const digest = (bed: Bed, table: string): Promise<string> =>
  bed.value(`SELECT md5(string_agg(ctid::text || ' ' || xmin::text, ',' ORDER BY ctid)) FROM ${table}`)
