import { existsSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { database } from "../../src/postgres/session.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { envelope, ORDERS, projectFolder, SPILLWAY, spillway, start, ZOD, type TestProject } from "./command-line.ts"

let fresh: FreshDatabase
let folder: TestProject
let env: Record<string, string>

beforeAll(async () => {
  fresh = await freshDatabase()
  env = { DATABASE_URL: fresh.url }
})
afterAll(() => fresh.drop())

beforeEach(async () => {
  folder = await projectFolder({
    "spillway.config.ts": ORDERS,
    "data/a.csv": "id,item,quantity\n1,pear,3\n2,,4\n3,fig,-1\n",
    "data/b.csv": "id,item,quantity\n4,pear,1\n5,fig,2\n",
  })
  return () => folder.remove()
})

const command = (...args: string[]) => spillway([...args, "--project", folder.directory], env)

const ids = async (): Promise<number[]> => {
  const session = await database(fresh.url).connect()
  try {
    return (await session.query<{ id: string }>("SELECT id FROM bronze.orders ORDER BY id")).rows.map((row) =>
      Number(row.id),
    )
  } finally {
    await session.end()
  }
}

interface Line {
  level: string
  message: string
  run_id: string
  correlation_id: string
}
const jsonLines = (text: string): Line[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line)

describe("run, and what can be asked afterwards", () => {
  it("loads, holds, tells, and comes right again", async () => {
    await folder.write({ "data/c.csv": "id,item,quantity\n6,pear,x\n7,fig,y\n" })
    const first = await command("run")
    expect(first).toMatchObject({ code: 6, stderr: "" })
    const lines = jsonLines(first.stdout)
    expect(lines[0]?.message).toBe("run started")
    expect(lines.at(-1)).toMatchObject({ level: "WARNING", message: expect.stringContaining("run partial") as unknown })
    expect(
      lines.some((line) => line.level === "ERROR" && line.message.startsWith("data/c.csv: held: QUALITY_GATE")),
    ).toBe(true)
    expect(new Set(lines.map((line) => line.correlation_id)).size).toBe(1)

    const status = await command("status", "--check")
    expect(status.code).toBe(3)
    expect(status.stdout).toMatch(/^▲ partial {2}orders/)
    expect(status.stdout).toContain("▲ held data/c.csv")
    expect(status.stderr).toContain("degraded: orders: the last run is partial, 1 partition held")
    expect((await command("status")).code).toBe(0)

    const logs = envelope(await command("logs", "--json", "--level", "ERROR")).data as Line[]
    expect(logs).toEqual([
      expect.objectContaining({ level: "ERROR", run_id: lines[0]?.run_id, correlation_id: lines[0]?.correlation_id }),
    ])
    expect((await command("logs", "--run-id", "another")).stdout).toBe("")

    const letters = (await command("dlq", "export", "--code", "validation")).stdout.trimEnd().split("\n")
    expect(letters).toHaveLength(3)
    expect(Object.keys(JSON.parse(letters[0] ?? "") as object).slice(0, 4)).toEqual([
      "ts",
      "error_code",
      "error_msg",
      "record",
    ])
    const out = join(folder.directory, "letters.jsonl")
    expect(await command("dlq", "export", "--out", out)).toMatchObject({
      code: 0,
      stdout: `3 dead letters written to ${out}\n`,
    })
    expect(existsSync(out)).toBe(true)
    expect((await command("dlq", "export", "--json")).code).toBe(2)

    await folder.write({ "data/c.csv": "id,item,quantity\n6,pear,1\n7,fig,2\n" })
    const second = envelope(await command("run", "--json"))
    expect(second).toMatchObject({
      ok: true,
      error: null,
      data: { runs: [{ status: "completed", counts: { read: 2, inserted: 2 } }], notReached: [] },
    })
    expect(await ids()).toEqual([1, 2, 4, 5, 6, 7])
    expect(await command("status", "--check")).toMatchObject({ code: 0, stderr: "" })

    const third = await command("run")
    expect(third.code).toBe(0)
    expect(jsonLines(third.stdout).at(-1)?.message).toMatch(/0 read, 0 published, 3 unchanged/)
  })

  it("puts the envelope on stdout and the log on stderr under --json, also when it is partial", async () => {
    await folder.write({ "data/c.csv": "id,item,quantity\n6,pear,x\n" })
    const answer = await command("run", "--full", "--json")
    expect(answer.code).toBe(6)
    expect(envelope(answer)).toMatchObject({
      ok: false,
      data: { runs: [{ pipeline: "orders", status: "partial" }] },
      error: {
        code: "QUALITY_GATE",
        message: expect.stringContaining("1 of 3 files held, first data/c.csv") as unknown,
      },
    })
    expect(jsonLines(answer.stderr).length).toBeGreaterThan(2)
  })

  it("says what it does not find: exit 4", async () => {
    const answer = await command("run", "oders")
    expect(answer).toMatchObject({ code: 4, stdout: "" })
    expect(answer.stderr).toContain('did you mean "orders"?')
  })

  it("exits 5 when the database is away, without its password", async () => {
    const answer = await spillway(["run", "--json", "--project", folder.directory], {
      DATABASE_URL: "postgres://u:hunter2@127.0.0.1:1/x",
    })
    expect(answer.code).toBe(5)
    expect(envelope(answer).error).toMatchObject({ code: "DB_UNAVAILABLE" })
    expect(answer.stdout + answer.stderr).not.toContain("hunter2")
  })

  it("goes on with its work when the reader of its log leaves", async () => {
    const { child, ended } = start(["run", "--full", "--project", folder.directory], env)
    child.stdout?.destroy()
    expect((await ended).code).toBe(0)
    const { stdout } = await command("status")
    expect(stdout).toMatch(/^● completed {2}orders/)
  })
})

/** A transform that stands still at its first record until the test lets it go on. */
const STANDING = `
import { existsSync, writeFileSync } from "node:fs"
import { csv, files, pipeline, project, table } from "${SPILLWAY}"
import { z } from "${ZOD}"
const here = import.meta.dirname
const stood = pipeline({
  name: "standing",
  source: files("data/*.csv", { format: csv() }),
  schema: z.object({ id: z.number().int() }),
  sink: table("bronze.standing", { key: ["id"] }),
  publish: "run",
  transform: (record) => {
    writeFileSync(here + "/reached", "")
    while (!existsSync(here + "/go")) {}
    return record
  },
})
export default project({ pipelines: [stood] })
`

describe("Ctrl-C", () => {
  const interrupted = async (signal: "SIGINT" | "SIGTERM") => {
    await folder.write({
      "spillway.config.ts": STANDING,
      "data/a.csv": `id\n${signal.length}1\n`,
      "data/b.csv": `id\n${signal.length}2\n`,
    })
    const { child, ended } = start(["run", "--project", folder.directory], env)
    await expect.poll(() => existsSync(join(folder.directory, "reached")), { timeout: 20_000 }).toBe(true)
    child.kill(signal)
    await folder.write({ go: "" })
    return ended
  }

  it.each(["SIGINT", "SIGTERM"] as const)(
    "%s once: stops after the batch, exits 130 and says how to go on",
    async (signal) => {
      const answer = await interrupted(signal)
      expect(answer.code).toBe(130)
      expect(answer.stderr).toContain("stopping after this batch; press Ctrl-C again to stop at once")
      expect(answer.stderr).toContain("run the same command again")
      expect((await command("status")).stdout).toMatch(/▲ stopped {2}standing/)
      const again = await command("run")
      expect(again.code).toBe(0)
      expect(jsonLines(again.stdout).at(-1)?.message).toContain("run completed")
    },
  )
})
