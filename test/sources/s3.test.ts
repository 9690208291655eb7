import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { DuckDBInstance } from "@duckdb/node-api"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { z } from "zod"
import type { Source, SourceContext, SourcePartition } from "../../src/core/contracts.ts"
import { env } from "../../src/core/environment.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { csvInBatches } from "../../src/formats/csv.ts"
import { pipeline, table } from "../../src/index.ts"
import { files } from "../../src/sources/files.ts"
import { s3, type S3Options } from "../../src/sources/s3/s3.ts"
import { testBed, unbalanced, type Bed } from "../engine/bed.ts"
import { sourceContract } from "./contract.ts"
import { s3Server, type S3Server } from "./s3-server.ts"

let server: S3Server
let bucket = ""
let buckets = 0
beforeAll(async () => {
  server = await s3Server()
  process.env["AWS_ACCESS_KEY_ID"] = "S3RVER"
  process.env["AWS_SECRET_ACCESS_KEY"] = "S3RVER-secret"
})
afterAll(async () => {
  delete process.env["AWS_ACCESS_KEY_ID"]
  delete process.env["AWS_SECRET_ACCESS_KEY"]
  await server.close()
})
beforeEach(async () => {
  bucket = `bucket-${++buckets}`
  await server.createBucket(bucket)
  server.forget()
})
afterEach(() => {
  server.cutAfter()
  server.answerLists(undefined)
  server.refuse(undefined)
})

const contextOf = (changes: Partial<SourceContext> = {}): SourceContext => ({
  ports: systemPorts,
  directory: "/nowhere",
  signal: new AbortController().signal,
  exact: new Set(),
  maxRecordBytes: 1 << 20,
  ...changes,
})

const put = (key: string, body: string | Uint8Array): Promise<void> => server.put(bucket, key, body)
const storage = (options: S3Options = {}) => s3({ endpoint: server.endpoint, ...options })
const stored = (pattern: string, options: Parameters<typeof files>[1] = {}): Source =>
  files(`s3://${bucket}/${pattern}`, { storage: storage(), ...options })
const list = (source: Source): Promise<readonly SourcePartition[]> => source.list(contextOf(), new Map())
const keys = async (source: Source): Promise<string[]> =>
  (await list(source)).map(({ key }) => key.replace(`s3://${bucket}/`, ""))

async function records(source: Source, partition?: SourcePartition): Promise<unknown[]> {
  const found: unknown[] = []
  const partitions = partition === undefined ? await list(source) : [partition]
  for (const each of partitions)
    for await (const batch of source.read(each, undefined, contextOf()))
      for (let i = 0; i < batch.length; i++) found.push(batch.record(i))
  return found
}

const lines = (count: number): string =>
  "id,text\n" + Array.from({ length: count }, (_, i) => `${i},row ${i}\n`).join("")
const gets = (): readonly (string | undefined)[] =>
  server.asked.filter(({ method, path }) => method === "GET" && !path.includes("list-type")).map(({ range }) => range)

sourceContract("files in object storage", async () => {
  await put("in/a.csv.gz", gzipSync(lines(3000)))
  await put("in/b.csv", lines(3000))
  const source = stored("in/*", { format: csvInBatches({ bytes: 10_000, records: 1000 }) })
  return { source, context: (signal) => contextOf({ signal }), open: () => server.open }
})

describe("a pattern", () => {
  it("finds keys as it finds files", async () => {
    for (const key of [
      "a.csv",
      "in/b.csv.gz",
      "in/c.json",
      "in/deep/d.csv",
      "in/.hidden.csv",
      "in/e.txt",
      "in b+ü/f.csv",
    ])
      await put(key, "x\n1\n")
    expect(await keys(stored("a.csv"))).toEqual(["a.csv"])
    expect(await keys(stored("in/*.csv.gz"))).toEqual(["in/b.csv.gz"])
    expect(await keys(stored("**/*.csv"))).toEqual(["a.csv", "in b+ü/f.csv", "in/deep/d.csv"])
    expect(await keys(stored("in b+ü/*.csv"))).toEqual(["in b+ü/f.csv"])
    expect(await keys(stored("in/", { format: csvInBatches({ bytes: 10_000, records: 10 }) }))).toEqual([
      "in/b.csv.gz",
      "in/deep/d.csv",
    ])
    expect(await keys(stored("in", { format: csvInBatches({ bytes: 10_000, records: 10 }) }))).toEqual([
      "in/b.csv.gz",
      "in/deep/d.csv",
    ])
    expect(await keys(stored("none/*.csv"))).toEqual([])
    await expect(keys(stored("none.csv"))).rejects.toMatchObject({ code: "CONFIG" })
    expect(() => files(["s3://b/x.csv", "x.csv"])).toThrow(expect.objectContaining({ code: "CONFIG" }))
    expect(() => files("s3:///x.csv")).toThrow(expect.objectContaining({ code: "CONFIG" }))
  })

  it("goes through all pages of a long list", async () => {
    server.answerLists([["a.csv", "b.csv"], ["c.csv"], ["d.csv"]])
    expect(await keys(stored("*.csv"))).toEqual(["a.csv", "b.csv", "c.csv", "d.csv"])
    expect(server.asked.filter(({ path }) => path.includes("list-type"))).toHaveLength(3)
  })
})

describe("reading", () => {
  it("takes nothing to know what is unchanged, and sees what changed", async () => {
    await put("a.csv", "id\n1\n")
    await put("b.csv", "id\n1\n")
    const before = await list(stored("*.csv"))
    expect(gets()).toEqual([])
    await put("b.csv", "id\n2\n")
    const after = await list(stored("*.csv"))
    expect(after.map(({ version }, i) => version === before[i]?.version)).toEqual([true, false])
    await expect(records(stored("*.csv"), before[1])).rejects.toMatchObject({ code: "DATA_LOSS", class: "transient" })
  })

  it.each(["a.csv", "a.csv.gz"])("goes on at the byte where an answer was cut off: %s", async (key) => {
    const text = lines(200_000)
    const body = key.endsWith("gz") ? gzipSync(text, { level: 1 }) : Buffer.from(text)
    await put(key, body)
    const partitions = await list(stored(key))
    server.forget()
    // The first look at a file whose name tells no compression is not cut.
    server.cutAfter(...(key.endsWith("gz") ? [] : [Infinity]), 100_000, 0, 200_000)
    const read = await records(stored(key), partitions[0])
    expect(read).toHaveLength(200_000)
    expect(read[199_999]).toEqual({ id: "199999", text: "row 199999" })
    const ranges = gets().filter((range) => range !== undefined)
    expect(ranges.length).toBeGreaterThanOrEqual(2)
    expect(new Set(ranges)).not.toContain("bytes=0-")
  })

  it("does not go on in an object that was replaced while its answer was cut off", async () => {
    await put("a.csv.gz", gzipSync(lines(200_000), { level: 1 }))
    const source = stored("a.csv.gz")
    const [partition] = await list(source)
    server.cutAfter(100_000)
    const sleep = () => put("a.csv.gz", gzipSync(lines(100_000), { level: 1 }))
    const context = contextOf({ ports: { ...systemPorts, clock: { ...systemPorts.clock, sleep } } })
    const reading = async (): Promise<void> => {
      for await (const _batch of source.read(partition as SourcePartition, undefined, context)) continue
    }
    await expect(reading()).rejects.toMatchObject({
      code: "DATA_LOSS",
      message: expect.stringContaining("changed") as string,
    })
    expect(gets()).toHaveLength(2)
  })

  it("gives up after a few cuts without a byte, with what happened", async () => {
    await put("a.csv.gz", gzipSync(lines(50_000)))
    server.cutAfter(...Array.from({ length: 20 }, () => 0))
    await expect(records(stored("a.csv.gz"))).rejects.toMatchObject({
      code: "NETWORK",
      where: `s3://${bucket}/a.csv.gz`,
    })
    expect(server.open).toBe(0)
  })

  it("takes only the parts of a Parquet file that it needs", async () => {
    const duckdb = await (await DuckDBInstance.create()).connect()
    const path = join(process.env["TMPDIR"] ?? "/tmp", `${bucket}.parquet`)
    await duckdb.run(
      `COPY (SELECT n AS id, 'text ' || n AS text FROM range(20000) t(n)) TO '${path}' (FORMAT parquet, ROW_GROUP_SIZE 4096)`,
    )
    duckdb.closeSync()
    await put("a.parquet", await readFile(path))
    const read = await records(stored("a.parquet"))
    expect(read).toHaveLength(20_000)
    expect(read[19_999]).toEqual({ id: 19_999, text: "text 19999" })
    expect(gets().every((range) => /^bytes=\d+-\d+$/.test(range ?? ""))).toBe(true)
  })
})

describe("what goes wrong has a code", () => {
  it("no such bucket, no right to it, nobody there, no region, no credentials", async () => {
    await expect(list(files("s3://no-such-bucket/*.csv", { storage: storage() }))).rejects.toMatchObject({
      code: "CONFIG",
      where: "s3://no-such-bucket/",
      message: expect.stringContaining("NoSuchBucket") as string,
    })
    server.refuse({ path: /list-type/, status: 403, code: "AccessDenied" })
    await expect(list(stored("*.csv"))).rejects.toMatchObject({ code: "AUTH" })
    server.refuse({ path: /list-type/, status: 503, code: "SlowDown" })
    await expect(list(stored("*.csv"))).rejects.toMatchObject({ code: "HTTP_429", class: "throttled" })
    server.refuse(undefined)
    await expect(list(stored("*.csv", { storage: storage({ endpoint: "http://127.0.0.1:1" }) }))).rejects.toMatchObject(
      { code: "NETWORK" },
    )
    await expect(list(stored("*.csv", { storage: storage({ endpoint: "ftp://x" }) }))).rejects.toMatchObject({
      code: "CONFIG",
      where: "endpoint",
    })
    await expect(
      list(stored("*.csv", { storage: storage({ endpoint: env("TEST_NO_ENDPOINT") }) })),
    ).rejects.toMatchObject({ code: "CONFIG" })
  })

  it("an object that may not be read, or is gone, holds itself alone", async () => {
    await put("a.csv", "id\n1\n")
    const [partition] = await list(stored("a.csv"))
    server.refuse({ path: /a\.csv/, status: 403, code: "AccessDenied" })
    await expect(records(stored("a.csv"), partition)).rejects.toMatchObject({
      code: "RESOURCE",
      where: `s3://${bucket}/a.csv`,
    })
    server.refuse({ path: /a\.csv/, status: 404, code: "NoSuchKey" })
    await expect(records(stored("a.csv"), partition)).rejects.toMatchObject({ code: "DATA_LOSS" })
  })

  it("and never shows a secret", async () => {
    server.refuse({ path: /./, status: 403, code: "SignatureDoesNotMatch" })
    const failure: unknown = await list(stored("*.csv")).catch((error: unknown) => error)
    const told = failure as { message: string; hint: string; where: string; context: unknown }
    expect(JSON.stringify([told.message, told.hint, told.where, told.context])).not.toContain("S3RVER-secret")
    expect(JSON.stringify(stored("*.csv", { storage: storage({ endpoint: env("STORE") }) }).description)).toContain(
      "env(STORE)",
    )
  })
})

describe("a pipeline", () => {
  let bed: Bed
  beforeEach(async () => {
    bed = await testBed()
  })
  afterEach(() => bed.end())

  it("loads objects once, and a changed one again", async () => {
    await put("day/1.csv.gz", gzipSync(lines(1000)))
    await put("day/2.csv.gz", gzipSync(lines(10)))
    const pipe = pipeline({
      name: "stored",
      source: stored("day/*.csv.gz"),
      schema: z.object({ id: z.int(), text: z.string() }),
      sink: table("bronze.stored", { mode: "append" }),
    })
    expect(await bed.run(pipe)).toMatchObject({ status: "completed", counts: { inserted: 1010 } })
    server.forget()
    expect(await bed.run(pipe)).toMatchObject({ status: "completed", counts: { read: 0 } })
    expect(gets()).toEqual([])
    await put("day/2.csv.gz", gzipSync(lines(11)))
    expect(await bed.run(pipe)).toMatchObject({ status: "completed", counts: { inserted: 1, unchanged: 10 } })
    expect(await bed.rows("SELECT _source, count(*)::int AS n FROM bronze.stored GROUP BY 1 ORDER BY 1")).toEqual([
      { _source: `s3://${bucket}/day/1.csv.gz`, n: 1000 },
      { _source: `s3://${bucket}/day/2.csv.gz`, n: 11 },
    ])
    expect(await unbalanced(bed, "stored")).toEqual([])
  })
})
