import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startEmbedded, stopEmbedded } from "../src/postgres/embedded.ts"
import { throwAwayDatabase, type ThrowAwayDatabase } from "../src/testing/database.ts"

export interface BenchServer {
  /** A folder for data, on the same disk as the database. */
  readonly directory: string
  /** A new database with the ops schema. */
  fresh(): Promise<ThrowAwayDatabase>
  stop(): Promise<void>
}

/** An embedded server with its usual settings (fsync on), in a throw-away folder. */
export async function benchServer(): Promise<BenchServer> {
  const directory = await mkdtemp(join(tmpdir(), "spillway-bench-"))
  await chmod(directory, 0o755)
  const { url } = await startEmbedded(directory)
  return {
    directory,
    fresh: () => throwAwayDatabase({ url }),
    stop: async () => {
      await stopEmbedded(directory)
      await rm(directory, { recursive: true, force: true })
    },
  }
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

export const spread = (values: readonly number[]): string =>
  `${seconds(Math.min(...values))}–${seconds(Math.max(...values))}`

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
