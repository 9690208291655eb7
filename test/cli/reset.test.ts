import { PassThrough } from "node:stream"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { confirm, type AnswerStream } from "../../src/cli/confirm.ts"
import { Output, type Stream } from "../../src/cli/output.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Session } from "../../src/postgres/session.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { envelope, projectFolder, spillwayHere as spillway, type TestProject } from "./command-line.ts"

let fresh: FreshDatabase
let session: Session
let folder: TestProject

beforeAll(async () => {
  fresh = await freshDatabase()
  session = await database(fresh.url).connect()
  await migrate(session, migrations)
  folder = await projectFolder({ ".spillway/keep": "" })
})
afterAll(async () => {
  await session.end()
  await fresh.drop()
  await folder.remove()
})
beforeEach(async () => {
  await session.query(`TRUNCATE ops.processed_partitions, ops.leases`)
  await session.query(`
    INSERT INTO ops.processed_partitions (pipeline_name, partition_key, status, definition_version, run_id)
      SELECT 'sales', to_char(m, 'YYYY-MM'), 'completed', 'v', 'r' FROM generate_series(date '2010-12-01', date '2011-12-01', interval '1 month') m;
    INSERT INTO ops.processed_partitions (pipeline_name, partition_key, status, definition_version, run_id)
      SELECT 'orders', f, 'held', 'v', 'r' FROM unnest(ARRAY['data/a.csv', 'data/b.csv']) f`)
})

const command = (...args: string[]) => spillway([...args, "--project", folder.directory], { DATABASE_URL: fresh.url })
const keys = async (pipeline: string): Promise<string[]> =>
  (
    await session.query<{ key: string }>(
      `SELECT partition_key AS key FROM ops.processed_partitions WHERE pipeline_name = $1 ORDER BY 1`,
      [pipeline],
    )
  ).rows.map((row) => row.key)

describe("reset", () => {
  it.each([
    [["--year", "2011", "--month", "3"], ["2011-03"]],
    [
      ["--month", "12"],
      ["2010-12", "2011-12"],
    ],
    [
      ["--from", "2011-03", "--to", "2011-04-30"],
      ["2011-03", "2011-04"],
    ],
    [
      ["--partition", "2011-05", "2010-12"],
      ["2010-12", "2011-05"],
    ],
    [["--year", "2012"], []],
  ])("%j forgets %j and nothing else", async (args, forgotten) => {
    const before = await keys("sales")
    const answer = envelope(await command("reset", "sales", ...args, "--yes", "--json"))
    expect(answer).toMatchObject({ ok: true, data: { pipeline: "sales", forgotten } })
    expect(await keys("sales")).toEqual(before.filter((key) => !forgotten.includes(key)))
    expect(await keys("orders")).toHaveLength(2)
  })

  it("forgets all of a pipeline, and says how to go on", async () => {
    const answer = await command("reset", "orders", "--yes")
    expect(answer).toMatchObject({ code: 0, stderr: "" })
    expect(answer.stdout).toBe(
      "forgot 2 partitions of orders (all partitions); process them again with: spillway run orders\n",
    )
    expect(await keys("orders")).toEqual([])
    expect(await keys("sales")).toHaveLength(13)
  })

  it.each([
    [["orders"], 2, "nobody can be asked here", "--yes"],
    [["sales", "--month", "13", "--yes"], 2, "--month 13 is not a month", "1 to 12"],
    [["sales", "--from", "2011-05", "--to", "2011-04", "--yes"], 2, "is after", "swap them"],
    [["orders", "--year", "2011", "--yes"], 2, "not by month or day", "--partition"],
    [["orders", "--partition", "data/c.csv", "--yes"], 4, 'no partition "data/c.csv"', "did you mean"],
    [["oders", "--yes"], 4, 'does not know a pipeline "oders"', 'did you mean "orders"?'],
  ])("%j is refused with %i and a hint", async (args, code, said, hint) => {
    const answer = await command("reset", ...args)
    expect(answer).toMatchObject({ code, stdout: "" })
    expect(answer.stderr).toContain(said)
    expect(answer.stderr.slice(answer.stderr.indexOf("hint: "))).toContain(hint)
    expect(await keys("sales")).toHaveLength(13)
    expect(await keys("orders")).toHaveLength(2)
  })

  it("is refused with 5 while another process holds what it would forget", async () => {
    await session.query(`INSERT INTO ops.leases (pipeline_name, partition_key, holder, run_id, host, process_id, expires_at)
      VALUES ('orders', 'data/a.csv', 'h', 'r', 'elsewhere', 1, now() + interval '20 s')`)
    expect((await command("reset", "orders", "--yes")).code).toBe(5)
    expect(await keys("orders")).toHaveLength(2)
    expect((await command("reset", "orders", "--partition", "data/b.csv", "--yes")).code).toBe(0)
  })
})

describe("asking", () => {
  const ask = async (answer: string | undefined): Promise<{ yes: boolean; asked: string }> => {
    let asked = ""
    const stream: Stream = {
      isTTY: true,
      write: (text) => {
        asked += text
        return true
      },
      on: () => undefined,
    }
    const input: AnswerStream = Object.assign(new PassThrough(), { isTTY: true })
    const answered = confirm(
      { output: new Output(stream, stream, {}, { json: false, verbose: false }) },
      "Go on?",
      input,
    )
    if (answer === undefined) input.destroy()
    else (input as PassThrough).end(answer)
    return { yes: await answered, asked }
  }

  it.each([
    ["y\n", true],
    ["Yes\n", true],
    ["n\n", false],
    ["\n", false],
    ["yesterday\n", false],
  ])("%j is %s", async (answer, yes) => expect(await ask(answer)).toEqual({ yes, asked: "Go on? [y/N] " }))

  it.each([[""], [undefined]])("an input that ends (%j) is no answer", (answer) =>
    expect(ask(answer)).rejects.toMatchObject({ code: "CANCELLED" }),
  )
})

describe("status --partitions", () => {
  it("lists every partition of one pipeline", async () => {
    const answer = await command("status", "--partitions", "sales")
    expect(answer.code).toBe(0)
    const lines = answer.stdout.trimEnd().split("\n")
    expect(lines.slice(0, 4)).toEqual([
      "● 13 done",
      "      J F M A M J J A S O N D",
      "2010                        ●",
      "2011  ● ● ● ● ● ● ● ● ● ● ● ●",
    ])
    expect(lines.filter((line) => /^● done +20\d\d-\d\d +0$/.test(line))).toHaveLength(13)
  })

  it("has all of them under --json, and counts only that pipeline under --check", async () => {
    const checked = await command("status", "--partitions", "orders", "--check", "--json")
    expect(checked.code).toBe(3)
    expect(envelope(checked).data).toMatchObject({
      degraded: true,
      pipelines: [
        {
          pipeline: "orders",
          partitionStates: [
            { key: "data/a.csv", state: "failed", why: "held" },
            { key: "data/b.csv", state: "failed" },
          ],
        },
      ],
    })
    expect((await command("status", "--partitions", "sales", "--check")).code).toBe(0)
  })

  it("does not know every name: exit 4", async () => {
    const answer = await command("status", "--partitions", "sale")
    expect(answer).toMatchObject({ code: 4, stdout: "" })
    expect(answer.stderr).toContain('did you mean "sales"?')
  })
})
