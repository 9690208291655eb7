import { chmod, mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startEmbedded, stopEmbedded } from "../src/postgres/embedded.ts"

const PREFIX = "spillway-test-server-"

/** One embedded PostgreSQL for the whole test run. Its URL is in `SPILLWAY_TEST_DATABASE_URL`; `test/postgres/server.ts` hands out databases on it. */
export default async function setup(): Promise<() => Promise<void>> {
  await removeAbandoned()
  const directory = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`))
  // Below a folder that only root may enter, the data would lie elsewhere.
  await chmod(directory, 0o755)
  const { url } = await startEmbedded(directory)
  process.env["SPILLWAY_TEST_DATABASE_URL"] = url
  return () => remove(directory)
}

/** Servers of test runs that were killed. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length).split("-")[0]) : NaN
    if (Number.isInteger(pid) && !isAlive(pid)) await remove(join(tmpdir(), name))
  }
}

async function remove(directory: string): Promise<void> {
  await stopEmbedded(directory)
  await rm(directory, { recursive: true, force: true })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}
