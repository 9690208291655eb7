import { spawn } from "node:child_process"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { DuckDBInstance } from "@duckdb/node-api"
import { describe, expect, it } from "vitest"
import { seededRandom } from "../../src/core/random.ts"
import { envelope, spillway, spillwayHere } from "../cli/command-line.ts"
import { Folder } from "./folder.ts"

const SAMPLE = fileURLToPath(new URL("../../sample/data.csv", import.meta.url))
const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const SCHEMAS = fileURLToPath(new URL("./schemas.ts", import.meta.url))
const HEADER = "id,name,price,quantity,ts\n"

interface Letter {
  readonly record: Record<string, unknown>
  readonly path: string
  readonly source: Record<string, unknown>
}

const product = (folder: Folder, ...args: readonly string[]): ReturnType<typeof spillway> =>
  spillway(["validate", "--schema", "builtins.ProductRecord", ...args], {}, folder.path)

/** Validates what is written to its standard input. */
function piped(folder: Folder, ...args: readonly string[]) {
  const all = [MAIN, "validate", "--in-file", "-", "--schema", "builtins.ProductRecord", ...args]
  const child = spawn(process.execPath, all, { cwd: folder.path, stdio: "pipe" })
  const told = { stdout: "", stderr: "" }
  child.stdout.on("data", (chunk: Buffer) => (told.stdout += chunk.toString()))
  child.stderr.on("data", (chunk: Buffer) => (told.stderr += chunk.toString()))
  const ended = new Promise<number | null>((resolve) => child.on("close", (code) => resolve(code)))
  return { child, told, ended }
}

describe("spillway validate", () => {
  it("splits the sample into good records and dead letters", async () => {
    await using folder = await Folder.of()
    const answer = await product(folder, "--in-file", SAMPLE, "--good-out", "good.csv", "--dead-letter", "bad.jsonl")
    expect(answer).toMatchObject({ code: 1, stderr: "" })
    expect(answer.stdout).toMatch(/^◆ 26 records read, 8 good, 18 set aside \(30\.77 % pass\)/)
    const letters = (await folder.read("bad.jsonl")).split("\n").slice(0, -1)
    expect(letters).toHaveLength(18)
    for (const letter of letters)
      expect(Object.keys(JSON.parse(letter) as object).slice(0, 4)).toEqual(["ts", "error_code", "error_msg", "record"])
    expect((await folder.read("good.csv")).match(/^P-\d+/gm)).toHaveLength(8)
  })

  it("exits 0 when all is valid, or enough of it", async () => {
    await using folder = await Folder.of({
      "good.csv": `${HEADER}a,D,1,1,\n`,
      "half.csv": `${HEADER}a,D,1,1,\nb,D,x,1,\n`,
    })
    expect(await product(folder, "--in-file", "good.csv")).toMatchObject({ code: 0, stderr: "" })
    expect(await product(folder, "--in-file", "half.csv")).toMatchObject({ code: 1 })
    expect(await product(folder, "--in-file", "half.csv", "--min-pass-rate", "0.5")).toMatchObject({ code: 0 })
    const below = await product(folder, "--in-file", "half.csv", "--min-pass-rate", "0.51")
    expect(below).toMatchObject({ code: 1 })
    expect(below.stdout).toContain("below the pass rate of 51 %")
    expect((await folder.list()).sort()).toEqual(["good.csv", "half.csv"])
  })

  it("writes good records to standard output and says the rest elsewhere", async () => {
    await using folder = await Folder.of({ "in.csv": `${HEADER}a,Ö,1,1,\nb,D,x,1,\n` })
    const answer = await product(folder, "--in-file", "in.csv", "--good-out", "-")
    expect(answer).toMatchObject({ code: 1, stdout: `${HEADER}a,Ö,1,1,\n` })
    expect(answer.stderr).toContain("2 records read, 1 good, 1 set aside")
  })

  it("reads Parquet, with zones, digits and what is missing as the file has them", async () => {
    await using folder = await Folder.of({
      "schema.json": JSON.stringify({
        type: "object",
        properties: {
          id: { type: "integer", minimum: 1 },
          at: { type: "string", format: "date-time" },
          price: { type: ["number", "null"] },
        },
        required: ["id", "at"],
      }),
    })
    const instance = await DuckDBInstance.create()
    const duckdb = await instance.connect()
    const rows = `VALUES (1, TIMESTAMPTZ '2024-02-29 12:34:56.123456+02', 1.10::DECIMAL(5,2)),
      (0, TIMESTAMPTZ '2024-03-01 00:00:00+00', 2), (3, NULL, 3), (4, TIMESTAMPTZ '2024-03-02 00:00:00+00', NULL)`
    await duckdb.run(
      `COPY (SELECT * FROM (${rows}) t(id, "at", price)) TO '${join(folder.path, "in.parquet")}' (FORMAT parquet)`,
    )
    duckdb.closeSync()
    const args = [
      "--in-file",
      "in.parquet",
      "--schema",
      "schema.json",
      "--good-out",
      "good.jsonl",
      "--dead-letter",
      "bad.jsonl",
    ]
    const answer = await spillway(["validate", ...args], {}, folder.path)
    expect(answer).toMatchObject({ code: 1, stderr: "" })
    expect(answer.stdout).toMatch(/^◆ 4 records read, 2 good, 2 set aside/)
    expect(await folder.read("good.jsonl")).toBe(
      '{"id":1,"at":"2024-02-29T10:34:56.123456Z","price":1.1}\n{"id":4,"at":"2024-03-02T00:00:00Z","price":null}\n',
    )
    const letters = (await folder.read("bad.jsonl"))
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Letter)
    expect(letters.map(({ record, path, source }) => [record["id"], path, source["file"]])).toEqual([
      [0, "id", "in.parquet"],
      [3, "at", "in.parquet"],
    ])
  })

  it("reports as JSON", async () => {
    await using folder = await Folder.of({ "in.csv": `${HEADER}a,D,1,1,\nb,D,x,1,\n` })
    const report = await product(folder, "--in-file", "in.csv", "--report", "json")
    expect(JSON.parse(report.stdout)).toMatchObject({
      read: 2,
      good: 1,
      bad: 1,
      passRate: 0.5,
      codes: { VALIDATION: 1 },
    })
    const answer = await product(folder, "--in-file", "in.csv", "--json")
    expect(envelope(answer)).toMatchObject({ ok: false, data: { read: 2, bad: 1 }, error: { code: "QUALITY_GATE" } })
  })

  it.each([
    [["--in-file", "in.csv", "--min-pass-rate", "2"], "--min-pass-rate 2 is not a number from 0 to 1"],
    [["--in-file", "in.csv", "--min-pass-rate", ""], "--min-pass-rate  is not a number"],
    [
      ["--in-file", "in.csv", "--limit", "0", "--format", "xml", "--report", "html"],
      "--limit 0 is not a whole number from 1; --format xml is not one of csv, jsonl, json; --report html",
    ],
    [["--in-file", "in.csv", "--good-out", "-", "--dead-letter", "-"], "cannot both go to standard output"],
    [["--in-file", "in.csv", "--good-out", "-", "--json"], ""],
    [["--good-out", "x.csv"], "required option '--in-file <file>' not specified"],
    [["--in-file", "not-there.csv"], 'there is no file "not-there.csv"'],
  ])("%j exits 2 and says why", async (args, message) => {
    const answer = await spillwayHere(["validate", "--schema", "builtins.ProductRecord", ...args])
    expect(answer.code).toBe(2)
    if (!args.includes("--json")) {
      expect(answer.stderr).toContain(message)
      expect(answer.stderr).toMatch(/^hint: /m)
    }
  })

  it.each([[`${SCHEMAS}#ZodProduct`], [`${SCHEMAS}#ValibotProduct`], [`${SCHEMAS}#ArkProduct`], ["product.json"]])(
    "takes the schema %s",
    async (schema) => {
      await using folder = await Folder.of({
        "in.csv": "id,name,price,quantity,active\n1,a,12,3,TRUE\n2,,12abc,1.5,\n3,c,0.5,0,\n4,d,-1,1e400,maybe\n",
        "product.json": JSON.stringify({
          type: "object",
          properties: {
            id: { type: "string", minLength: 1 },
            name: { type: "string", minLength: 1 },
            price: { type: "number", minimum: 0 },
            quantity: { type: "integer", minimum: 0 },
            active: { type: "boolean" },
          },
          required: ["id", "name", "price", "quantity"],
        }),
      })
      const args = [
        "validate",
        "--in-file",
        "in.csv",
        "--schema",
        schema,
        "--good-out",
        "good.jsonl",
        "--dead-letter",
        "bad.jsonl",
      ]
      expect(await spillway(args, {}, folder.path)).toMatchObject({ code: 1, stderr: "" })
      expect(await folder.read("good.jsonl")).toBe(
        '{"id":"1","name":"a","price":12,"quantity":3,"active":true}\n{"id":"3","name":"c","price":0.5,"quantity":0}\n',
      )
      const letters = (await folder.read("bad.jsonl")).split("\n").slice(0, -1)
      const paths = letters.map((line) =>
        (JSON.parse(line) as { faults: { path: string; message: string }[] }).faults.map(({ path }) => path),
      )
      expect(paths.map((list) => list.sort())).toEqual([
        ["name", "price", "quantity"],
        ["active", "price", "quantity"],
      ])
      for (const line of letters)
        expect((JSON.parse(line) as { error_msg: string }).error_msg).toMatch(/^(\w+: expected .+, got .+; ){2}/)
    },
  )

  it.each([
    ["builtins.Nothing", "there is no built-in schema", "builtins.ProductRecord"],
    ["schema.yaml", "does not name a schema", "FILE.ts#Name"],
    ["nothing.ts#A", "cannot be read (ENOENT)", "check the path"],
    ["broken.json", "is not JSON", "mend the file"],
    ["list.json", "not a record", ""],
    [SCHEMAS, "is not said", "#ArkProduct, "],
    [`${SCHEMAS}#Nope`, 'no export "Nope"', "#ArkProduct"],
    ["throws.ts#A", "failed while it was loaded: out of order", ""],
    ["plain.ts#text", "neither a Standard Schema nor a JSON Schema", ""],
  ])("says what is wrong with the schema %s", async (schema, message, hint) => {
    await using folder = await Folder.of({
      "in.csv": HEADER,
      "broken.json": "{",
      "list.json": '{"type":"array"}',
      "throws.ts": 'throw new Error("out of order")',
      "plain.ts": 'export const text = "x"',
    })
    const answer = await spillway(["validate", "--in-file", "in.csv", "--schema", schema], {}, folder.path)
    expect(answer.code).toBe(2)
    expect(answer.stderr).toContain(message)
    expect(answer.stderr).toContain(hint)
  })

  it("reads a pipe, in pieces as they come, as it reads a file", async () => {
    const random = seededRandom(5)
    const rows = Array.from({ length: 200_000 }, (_, n) => {
      const note = random.next() < 0.1 ? `"Desk, ${n}\nblue"` : `Desk ${n}`
      return `p${n},${note},${(random.next() * 100).toFixed(2)},${n % 50 === 0 ? "x" : n},\n`
    })
    const content = Buffer.from(HEADER + rows.join(""))
    await using folder = await Folder.of({ "data.csv": content.toString() })
    const file = await product(folder, "--in-file", "data.csv", "--good-out", "file.csv", "--report", "json")
    const { child, told, ended } = piped(folder, "--good-out", "pipe.csv", "--report", "json")
    // The first pieces are small; then the pipe is full all the time.
    for (let at = 0; at < content.length;) {
      const length = at < 2_000 ? 1 + Math.floor(random.next() * 20) : content.length
      await new Promise<void>((resolve) => child.stdin.write(content.subarray(at, at + length), () => resolve()))
      at += length
    }
    child.stdin.end()
    expect(await ended).toBe(1)
    const counts = ({ read, good, bad }: { read: number; good: number; bad: number }) => ({ read, good, bad })
    expect(counts(JSON.parse(told.stdout) as never)).toEqual(counts(JSON.parse(file.stdout) as never))
    expect(await folder.read("pipe.csv")).toBe(await folder.read("file.csv"))
    expect(counts(JSON.parse(told.stdout) as never)).toEqual({ read: 200_000, good: 196_000, bad: 4_000 })
  })

  it("stopped in the middle of an endless pipe, leaves nothing behind", async () => {
    await using folder = await Folder.of()
    const { child, told, ended } = piped(folder, "--good-out", "good.csv", "--dead-letter", "bad.jsonl")
    const rows = Buffer.from("a,Desk,1,1,\nb,Desk,x,1,\n".repeat(20_000))
    child.stdin.on("error", () => undefined)
    const feed = (): void => {
      while (child.stdin.writable && child.stdin.write(rows));
    }
    child.stdin.on("drain", feed)
    child.stdin.write(HEADER)
    feed()
    // The child takes the pipe's bytes and has begun both outputs.
    await expect.poll(async () => (await folder.list()).length, { timeout: 30_000 }).toBe(2)
    const written = async (): Promise<number> =>
      Math.max(
        ...(await Promise.all(
          (await folder.list()).map((name) =>
            readFile(join(folder.path, name)).then(
              (bytes) => bytes.length,
              () => 0,
            ),
          ),
        )),
      )
    await expect.poll(written, { timeout: 30_000 }).toBeGreaterThan(1_000_000)
    child.kill("SIGINT")
    expect(await ended).toBe(130)
    expect(told.stderr).toContain("error[CANCELLED]: the validation was stopped")
    expect(await folder.list()).toEqual([])
  })
})
