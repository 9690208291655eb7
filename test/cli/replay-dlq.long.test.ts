import { chmod, writeFile } from "node:fs/promises"
import { userInfo } from "node:os"
import { join } from "node:path"
import pg from "pg"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { throwAwayDatabase, type ThrowAwayDatabase } from "../../src/testing/index.ts"
import { testDatabaseUrl } from "../postgres/server.ts"
import { envelope, ORDERS, projectFolder, spillway, type Answer, type TestProject } from "./command-line.ts"

let project: TestProject
let database: ThrowAwayDatabase
let client: pg.Client

const GOOD = Array.from({ length: 20 }, (_, i) => `${i},a,${i}\n`).join("")

beforeEach(async () => {
  database = await throwAwayDatabase({ url: await testDatabaseUrl() })
  client = new pg.Client({ connectionString: database.url })
  await client.connect()
  project = await projectFolder({
    "spillway.config.ts": ORDERS,
    "data/a.csv": `id,item,quantity\n${GOOD}20,b,-1\n21,b,-2\n22,b,many\n`,
  })
})
afterEach(async () => {
  await project.remove()
  await client.end()
  await database.drop()
})

const cli = (args: readonly string[], env: Record<string, string> = {}): Promise<Answer> =>
  spillway(["--project", project.directory, ...args], { DATABASE_URL: database.url, ...env }, project.directory)

async function lines(query: string): Promise<string[]> {
  return (await client.query<{ line: string }>(query)).rows.map(({ line }) => line)
}
const states = (): Promise<string[]> =>
  lines(`SELECT concat_ws(' ', ordinal, status, attempts) AS line FROM ops.dead_letters ORDER BY ordinal`)
const loaded = (): Promise<string[]> =>
  lines(`SELECT concat_ws(' ', id, item, quantity) AS line FROM bronze.orders WHERE id >= 20 ORDER BY id`)

describe("replay-dlq", () => {
  it("shows the plan and changes nothing with --dry-run, and refuses to go on where nobody can be asked", async () => {
    await cli(["run"])
    const plan = await cli(["replay-dlq", "--dry-run", "--patch", '{"quantity": "3"}', "--filter", "field = quantity"])
    expect(plan).toMatchObject({ code: 0, stderr: "" })
    expect(plan.stdout).toMatch(/^3 letters of orders would be replayed, each patched with \{"quantity": "3"\}\n/)
    expect(plan.stdout).toMatch(/^ +2 {2}VALIDATION {2}v1:[0-9a-f]{16}\n +1 {2}VALIDATION/m)
    expect(plan.stdout).toMatch(/^of these:\n +3 {2}would pass$/m)
    const bare = await cli(["replay-dlq", "--dry-run"])
    expect(bare.stdout).toMatch(/3 {2}would still fail\nwhy:\n/)
    const asked = await cli(["replay-dlq"])
    expect(asked.code).toBe(2)
    expect(asked.stderr).toContain("error[CONFIG]: nobody can be asked here: replay 3 letters?")
    expect(await states()).toEqual(["22 pending 1", "23 pending 1", "24 pending 1"])
    expect(await lines(`SELECT replay_id AS line FROM ops.replays`)).toEqual([])
  })

  it("loads what passes, says what failed, and exits with 6", async () => {
    await cli(["run"])
    const [group = ""] = await lines(`SELECT fingerprint AS line FROM ops.dead_letters WHERE ordinal = 22`)
    const first = await cli(["replay-dlq", "--group", group.slice(0, 8), "--patch", '{"quantity": "7"}', "--yes"])
    expect(first.code).toBe(0)
    expect(first.stdout).toMatch(/^✓ orders completed: 2 letters {2}replay_\S+\n +2 {2}loaded\n$/)
    expect(first.stderr).toContain("spillway run")
    expect(await loaded()).toEqual(["20 b 7", "21 b 7"])
    const second = await cli(["replay-dlq", "--yes", "--json"])
    expect(second.code).toBe(6)
    expect(envelope(second)).toMatchObject({
      ok: false,
      data: {
        replays: [{ status: "completed", outcomes: { failed: 1 }, reasons: [{ outcome: "failed", letters: 1 }] }],
      },
    })
    expect(await lines(`SELECT DISTINCT requested_by AS line FROM ops.replays`)).toEqual([userInfo().username])
    const listed = await cli(["dlq", "replays"])
    expect(listed.stdout.trimEnd().split("\n")).toEqual([
      expect.stringMatching(
        new RegExp(`^[\\d: -]{16} +${userInfo().username} +orders +completed +1 failed +all +replay_`),
      ) as string,
      expect.stringMatching(/ orders +completed +2 loaded +group v1:[0-9a-f]+, patched +replay_/) as string,
    ])
    const none = await cli(["replay-dlq", "--group", group, "--yes"])
    expect(none).toMatchObject({ code: 0, stdout: "" })
    expect(none.stderr).toContain("no pending letter is chosen")
  })

  it("takes a function of a module, and a patch from a file", async () => {
    await cli(["run"])
    await project.write({
      "fix.ts": `export const fix = (record: any) => record.quantity === "many" ? { ...record, quantity: "99" } : undefined`,
      "patch.json": `{"quantity": "5", "item": null}`,
    })
    const byFunction = await cli(["replay-dlq", "--patch", "fix.ts#fix", "--yes"])
    expect(byFunction.code).toBe(6)
    expect(byFunction.stdout).toMatch(
      /1 {2}loaded\n +2 {2}left as they are\nwhy:\n +2 {2}left {2}the patch leaves it as it is/,
    )
    expect((await cli(["replay-dlq", "--patch", "patch.json", "--yes"])).code).toBe(0)
    expect(await loaded()).toEqual(["20 5", "21 5", "22 b 99"])
    expect(await lines(`SELECT patch::text AS line FROM ops.replays WHERE patch ? 'merge'`)).toEqual([
      '{"merge": {"item": null, "quantity": "5"}}',
    ])
  })

  it("stops at the canary or the ratio with exit 1", async () => {
    await cli(["run"])
    for (const flag of [
      ["--canary", "2"],
      ["--abort-above", "0.5"],
    ]) {
      const stopped = await cli(["replay-dlq", "--yes", ...flag])
      expect(stopped.code).toBe(1)
      expect(stopped.stderr).toContain("error[QUALITY_GATE]: ")
    }
    expect(await states()).toEqual(["22 pending 1", "23 pending 1", "24 pending 1"])
  })

  it("takes letters of a file, those of others and those of validate, once", async () => {
    await cli(["run"])
    await project.write({
      "theirs.jsonl":
        `{"ts":"2026-11-20T00:00:00Z","error_code":"VALIDATION","error_msg":"no","record":{"id":"70","item":"x","quantity":"1"}}\n` +
        `{"ts":"2026-11-20T00:00:00Z","error_code":"VALIDATION","error_msg":"no","record":{"id":"71","item":"x","quantity":"1","__proto__":"y"},"mine":1}\n` +
        `{"ts":"2026-11-20T00:00:00Z","error_code":"VALIDA`,
    })
    const replayed = await cli(["replay-dlq", "--dead-letter", "theirs.jsonl", "--pipeline", "orders", "--yes"])
    expect(replayed.stderr).toContain("theirs.jsonl:3")
    expect(await loaded()).toEqual(["70 x 1"])
    expect(replayed.code).toBe(6)
    const again = await cli(["replay-dlq", "--dead-letter", "theirs.jsonl", "--pipeline", "orders", "--yes", "--json"])
    expect(envelope(again)).toMatchObject({ data: { replays: [{ outcomes: { failed: 1 } }] } })
    expect(await loaded()).toEqual(["70 x 1"])
  })

  it.each<[string[], string]>([
    [["--abort-above", "2"], "--abort-above 2 is not a share"],
    [["--canary", "0"], "--canary 0 is not a number that can be"],
    [["--rate", "x"], "--rate x is not a number that can be"],
    [["--patch", "nothing"], "neither a patch nor a file with one"],
    [["--patch", '{"a":'], "the patch is not JSON"],
    [["--patch", "nowhere.ts#fix"], "the patch cannot be read (ENOENT)"],
    [["--dead-letter", "x.jsonl"], "--dead-letter does not tell whose letters these are"],
    [["--pipeline", "order"], 'the project has no pipeline "order" that loads records'],
  ])("refuses %j", async (args, message) => {
    const answer = await cli(["replay-dlq", ...args])
    expect(answer.code).toBe(message.includes("has no pipeline") ? 4 : 2)
    expect(answer.stderr).toContain(message)
    expect(answer.stderr).toContain("hint: ")
  })
})

describe("dlq edit", () => {
  /** An editor that does what a person would, by a command of sed. */
  async function editor(command: string): Promise<Record<string, string>> {
    const file = join(project.directory, "editor.sh")
    await writeFile(file, `#!/bin/sh\ncp "$1" "${project.directory}/shown.txt"\n${command}\n`)
    await chmod(file, 0o755)
    return { EDITOR: file, VISUAL: "" }
  }
  const letterAt = async (ordinal: number): Promise<string> =>
    (await lines(`SELECT id AS line FROM ops.dead_letters WHERE ordinal = ${ordinal}`))[0] ?? ""

  it("opens the record with its error as a comment, checks what was saved, and replays it", async () => {
    await cli(["run"])
    const id = await letterAt(24)
    const answer = await cli(["dlq", "edit", id, "--yes"], await editor(`sed -i 's/"many"/"12"/' "$1"`))
    expect(answer).toMatchObject({ code: 0 })
    const { readFile } = await import("node:fs/promises")
    const shown = await readFile(join(project.directory, "shown.txt"), "utf8")
    expect(shown).toMatch(
      /^\/\/ orders, file data\/a\.csv, line 24(, offset \d+)?\n\/\/ quantity: expected .*got "many"\n/,
    )
    expect(shown).toContain('{\n  "id": "22",\n')
    expect(await loaded()).toEqual(["22 b 12"])
    expect(await states()).toEqual(["22 pending 1", "23 pending 1", "24 replayed 2"])
  })

  it("says what is still wrong, and changes nothing", async () => {
    await cli(["run"])
    const id = await letterAt(24)
    const still = await cli(["dlq", "edit", id, "--yes"], await editor(`sed -i 's/"many"/"more"/' "$1"`))
    expect(still.code).toBe(1)
    expect(still.stderr).toMatch(/✗ quantity: expected .*got "more"/)
    const broken = await cli(["dlq", "edit", id, "--yes"], await editor(`echo '{' > "$1"`))
    expect(broken.code).toBe(1)
    expect(broken.stderr).toContain("✗ the patch failed: ")
    const unchanged = await cli(["dlq", "edit", id, "--yes"], await editor(`true`))
    expect(unchanged).toMatchObject({ code: 0, stdout: "nothing was changed\n" })
    const failing = await cli(["dlq", "edit", id], await editor(`exit 3`))
    expect(failing.code).toBe(2)
    expect(failing.stderr).toContain("ended with 3; nothing was changed")
    expect((await cli(["dlq", "edit", "dl_none"], await editor("true"))).code).toBe(4)
    expect(await states()).toEqual(["22 pending 1", "23 pending 1", "24 pending 1"])
  })

  it("opens the original text of what could not be decoded", async () => {
    await project.write({ "data/b.csv": `id,item,quantity\n${GOOD.replaceAll(",a,", ",c,")}30,"x"y,1\n` })
    await cli(["run"])
    const [id = ""] = await lines(`SELECT id AS line FROM ops.dead_letters WHERE error_code = 'DECODE'`)
    const answer = await cli(["dlq", "edit", id, "--yes"], await editor(`sed -i 's/"x"y/xy/' "$1"`))
    expect(answer).toMatchObject({ code: 0 })
    expect(await loaded()).toEqual(["30 xy 1"])
  })
})
