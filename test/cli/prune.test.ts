import { readdir, utimes } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Session } from "../../src/postgres/session.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { envelope, projectFolder, SPILLWAY, spillwayHere as spillway, type TestProject } from "./command-line.ts"

let fresh: FreshDatabase
let session: Session
/** Without a project file, as a program that uses the library has it. */
let bare: TestProject

beforeAll(async () => {
  fresh = await freshDatabase()
  session = await database(fresh.url).connect()
  await migrate(session, migrations)
  bare = await projectFolder({ ".spillway/keep": "" })
})
afterAll(async () => {
  await session.end()
  await fresh.drop()
  await bare.remove()
})
beforeEach(async () => {
  await session.query(`TRUNCATE ops.pipeline_logs, ops.dead_letters`)
  await session.query(`
    INSERT INTO ops.pipeline_logs (timestamp, level, message) SELECT now() - d * interval '1 day', 'INFO', '' FROM unnest(ARRAY[1, 20, 40]) d;
    INSERT INTO ops.dead_letters (id, fingerprint, pipeline_name, run_id, partition_key, ordinal, source, step, error_code, error_msg, raw, schema_version, status, last_seen)
      SELECT s, 'f', 'p', 'r', 'a', 1, '{}', 's', 'DECODE', '', '', '1', s, '2000-01-01' FROM unnest(ARRAY['pending', 'poisoned', 'replayed', 'discarded', 'superseded']) s`)
})

const command = (folder: TestProject, ...args: string[]) =>
  spillway([...args, "--project", folder.directory], { DATABASE_URL: fresh.url })
const count = async (table: string): Promise<number | undefined> =>
  (await session.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)).rows[0]?.n

describe("prune", () => {
  it("counts, then removes, and says how long each family is kept", async () => {
    const counted = await command(bare, "prune", "--dry-run")
    expect(counted.code).toBe(0)
    expect(counted.stdout).toMatch(/^what +kept for +would go\nlogs +30 days +1\n/)
    expect(await count("ops.pipeline_logs")).toBe(3)
    const answer = envelope(await command(bare, "prune", "--json"))
    expect(answer).toMatchObject({
      ok: true,
      data: { dryRun: false, removed: { logs: 1, runs: 0 }, retention: { logs: "30 days", runs: "365 days" } },
    })
    expect(await count("ops.pipeline_logs")).toBe(2)
    expect(await count("ops.dead_letters")).toBe(5)
  })

  it("removes evidence that no letter names any more, and none of yesterday or of a letter", async () => {
    const folder = await projectFolder({})
    const old = new Date("2020-01-01T00:00:00Z")
    const names = ["gone.png", "gone.html", "named.png", "staged.png", "replayed.png", "young.png"]
    await folder.write(Object.fromEntries(names.map((name) => [`.spillway/evidence/${name}`, name])))
    for (const name of names.slice(0, -1)) await utimes(join(folder.directory, ".spillway/evidence", name), old, old)
    const evidence = (name: string) => JSON.stringify({ url: "x", evidence: [`.spillway/evidence/${name}`] })
    await session.query(`UPDATE ops.dead_letters SET source = $1 WHERE id = 'pending'`, [evidence("named.png")])
    await session.query(`UPDATE ops.dead_letters SET source = $1 WHERE id = 'replayed'`, [evidence("replayed.png")])
    await session.query(
      `INSERT INTO ops_staging.dead_letters (run_id, partition_no, id, fingerprint, ordinal, source, step, error_code, error_msg, faults, raw)
       VALUES ('r', 1, 'x', 'f', 1, $1, 's', 'DECODE', '', '[]', '')`,
      [evidence("staged.png")],
    )
    const there = async (): Promise<string[]> => (await readdir(join(folder.directory, ".spillway/evidence"))).sort()
    try {
      expect((await command(folder, "prune", "--dry-run")).stdout).toMatch(/^evidence \(files\) +as its letters +2$/m)
      expect(await there()).toHaveLength(6)
      expect(envelope(await command(folder, "prune", "--json"))).toMatchObject({ data: { evidenceFiles: 2 } })
      expect(await there()).toEqual(["named.png", "replayed.png", "staged.png", "young.png"])
      const letters = ["--dead-letters", "replayed", "--older-than", "90d"]
      expect(envelope(await command(folder, "prune", ...letters, "--json"))).toMatchObject({
        data: { evidenceFiles: 1 },
      })
      expect(await there()).toEqual(["named.png", "staged.png", "young.png"])
      expect(await count("ops.dead_letters")).toBe(4)
    } finally {
      await session.query("TRUNCATE ops_staging.dead_letters")
      await folder.remove()
    }
  })

  it("takes retention from the project", async () => {
    const project = (retention: string) => `
      import { project } from "${SPILLWAY}"
      export default project({ pipelines: [], retention: ${retention} })`
    const folder = await projectFolder({ "spillway.config.ts": project(`{ logs: "10 days" }`) })
    const forever = await projectFolder({ "spillway.config.ts": project(`{ logs: "forever" }`) })
    const wrong = await projectFolder({ "spillway.config.ts": project(`{ logs: "soon", letters: "1 day" }`) })
    const broken = await projectFolder({ "spillway.config.ts": "throw new Error('not now')" })
    try {
      expect((await command(forever, "prune")).stdout).toMatch(/logs +forever +0\n/)
      const refused = await command(wrong, "prune")
      expect(refused).toMatchObject({ code: 2, stdout: "" })
      expect(refused.stderr).toMatch(/"letters" is not a family[^]*logs: "soon" is not a duration[^]*hint: /)
      // It may have declared that they are kept for longer.
      expect((await command(broken, "prune")).code).toBe(2)
      expect(await count("ops.pipeline_logs")).toBe(3)
      expect((await command(folder, "prune")).stdout).toMatch(/logs +10 days +2\n/)
    } finally {
      for (const made of [folder, forever, wrong, broken]) await made.remove()
    }
  })

  it("removes dead letters only when they are named by state and age", async () => {
    const answer = await command(bare, "prune", "--dead-letters", "replayed,superseded", "--older-than", "90d")
    expect(answer.stdout).toMatch(/dead letters \(replayed,superseded\) +90d +2$/m)
    const { rows } = await session.query(`SELECT id FROM ops.dead_letters ORDER BY id`)
    expect(rows).toEqual([{ id: "discarded" }, { id: "pending" }, { id: "poisoned" }])
  })

  it.each([
    [["--dead-letters", "pending", "--older-than", "1d"], "pending are never pruned"],
    [["--dead-letters", "replayed,poisoned", "--older-than", "1d"], "poisoned are never pruned"],
    [["--dead-letters", "replaid", "--older-than", "1d"], 'did you mean "replayed"?'],
    [["--dead-letters", "", "--older-than", "1d"], "is not a state"],
    [["--dead-letters", "replayed"], "--older-than 90d"],
    [["--older-than", "1d"], "--dead-letters replayed"],
    [["--dead-letters", "replayed", "--older-than", "soon"], '"soon" is not a duration'],
  ])("%j is refused, and nothing is removed", async (args, said) => {
    const answer = await command(bare, "prune", ...args)
    expect(answer).toMatchObject({ code: 2, stdout: "" })
    expect(answer.stderr).toContain(said)
    expect(answer.stderr).toMatch(/^hint: /m)
    expect(await count("ops.pipeline_logs")).toBe(3)
    expect(await count("ops.dead_letters")).toBe(5)
  })
})
