import { execFile } from "node:child_process"
import { readdir } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { z } from "zod"
import { csv, csvFiles, files, jsonlFiles, pipeline, type PipelineOptions } from "../../src/index.ts"
import { s3 } from "../../src/sources/index.ts"
import { testBed, unbalanced, type Bed } from "../engine/bed.ts"
import { s3Server, type S3Server } from "./s3-server.ts"

const CHILD = fileURLToPath(new URL("s3-sink-child.ts", import.meta.url))
const credentials = { AWS_ACCESS_KEY_ID: "S3RVER", AWS_SECRET_ACCESS_KEY: "S3RVER" }

let server: S3Server
let client: S3Client
let bed: Bed
let bucket = ""
let buckets = 0

beforeAll(async () => {
  server = await s3Server()
  Object.assign(process.env, credentials)
  client = new S3Client({ endpoint: server.endpoint, region: "us-east-1", forcePathStyle: true })
})
afterAll(async () => {
  for (const name of Object.keys(credentials)) delete process.env[name]
  client.destroy()
  await server.close()
})
beforeEach(async () => {
  bed = await testBed()
  bucket = `sink-${++buckets}`
  await server.createBucket(bucket)
  server.forget()
})
afterEach(async () => {
  server.refuse(undefined)
  await bed.end()
})

const orders = (extra: Partial<PipelineOptions> = {}) =>
  pipeline({
    name: "orders",
    source: files("in/*.csv", { format: csv() }),
    schema: z.object({ id: z.string() }),
    sink: jsonlFiles(`s3://${bucket}/out/orders`, { maxRecordsPerFile: 2, storage: s3({ endpoint: server.endpoint }) }),
    leaseMs: 2_000,
    ...extra,
  })

const write = (name: string, ids: readonly string[]) =>
  bed.write(`in/${name}.csv`, `id\n${ids.map((id) => `${id}\n`).join("")}`)

/** Everything in the bucket, by a client of its own. */
async function stored(): Promise<Map<string, string>> {
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
  const found = new Map<string, string>()
  for (const { Key = "" } of Contents) {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key }))
    found.set(Key, (await Body?.transformToString()) ?? "")
  }
  return found
}
const idsIn = (texts: Iterable<string>): string[] =>
  [...texts]
    .flatMap((text) => text.split("\n").slice(0, -1))
    .map((line) => (JSON.parse(line) as { id: string }).id)
    .sort()
/** The keys that the ledger says are published. */
const published = async (): Promise<string[]> =>
  (
    await bed.rows<{ name: string }>(
      `SELECT f->>'name' AS name FROM ops.source_positions, jsonb_array_elements(position->'files') f ORDER BY 1`,
    )
  ).map(({ name }) => `out/orders/${name}`)
const spool = async (): Promise<string[]> =>
  (await readdir(`${bed.directory}/.spillway/output`, { recursive: true })).filter((name) => name.includes("."))
const writes = (): number => server.asked.filter(({ method }) => method === "PUT" || method === "DELETE").length

describe("files in object storage", () => {
  it("are put there whole, replaced where their partition changed, and left alone where nothing did", async () => {
    await server.put(bucket, "out/orders/README.md", "of somebody else")
    await server.put(bucket, "out/orders/old/x.jsonl", "of somebody else")
    await write("jan", ["a", "b", "c"])
    await write("feb", ["d"])
    expect(await bed.run(orders())).toMatchObject({
      status: "completed",
      table: `s3://${bucket}/out/orders`,
      counts: { read: 4, inserted: 4 },
    })
    const first = await stored()
    expect(await published()).toEqual(
      [...first.keys()].filter((key) => /orders\/\w+-\w+-\w+-\d+\.jsonl$/.test(key)).sort(),
    )
    expect([...first.keys()].filter((key) => key.includes("jan-"))).toHaveLength(2)
    expect(first.get("out/orders/README.md")).toBe("of somebody else")
    expect(await spool()).toEqual([])

    server.forget()
    expect((await bed.run(orders())).counts.read).toBe(0)
    expect((await bed.run(orders(), { full: true })).counts).toMatchObject({ read: 4, unchanged: 4, inserted: 0 })
    expect(writes()).toBe(0)

    await write("jan", ["a2"])
    expect((await bed.run(orders())).counts).toMatchObject({ read: 1, inserted: 1, deleted: 3 })
    const second = await stored()
    expect([...second.keys()].filter((key) => key.includes("jan-"))).toHaveLength(1)
    const mine = [...second].filter(([key]) => /orders\/\w+-\w+-\w+-\d+\.jsonl$/.test(key))
    expect(idsIn(mine.map(([, text]) => text))).toEqual(["a2", "d"])
    expect([...second.keys()]).toContain("out/orders/old/x.jsonl")
    expect(await unbalanced(bed, "orders")).toEqual([])
    expect(await spool()).toEqual([])
  })

  it("keep what they had where the storage refuses, and say what is gone", async () => {
    await write("jan", ["a"])
    await bed.run(orders())
    const [key = ""] = await published()
    server.refuse({ path: new RegExp("out/orders/jan-"), status: 403, code: "AccessDenied" })
    await write("jan", ["b"])
    expect(await bed.run(orders())).toMatchObject({ status: "failed", error: { code: "AUTH" } })
    server.refuse(undefined)
    expect(idsIn((await stored()).values())).toEqual(["a"])
    expect(await bed.run(orders())).toMatchObject({ status: "completed" })
    expect(idsIn((await stored()).values())).toEqual(["b"])
    expect((await stored()).has(key)).toBe(false)

    const [gone = ""] = await published()
    await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: gone }))
    expect((await bed.run(orders())).warnings).toMatchObject([
      { code: "DATA_LOSS", message: `s3://${bucket}/${gone} was published and is gone` },
    ])
    expect(await bed.run(orders(), { full: true })).toMatchObject({ counts: { inserted: 1 } })
    expect(idsIn((await stored()).values())).toEqual(["b"])
  })

  it("killed before or after any upload: what the ledger names is there and whole, and the next run leaves exactly that", async () => {
    await write("steady", ["s1"])
    await write("jan", ["a1", "a2", "a3"])
    await bed.run(orders())
    let before = ["a1", "a2", "a3"]
    let kills = 0
    const folder = `s3://${bucket}/out/orders`
    for (let operation = 0; ; operation++) {
      let now = Array.from({ length: 1 + (operation % 4) }, (_, i) => `a${i}v${operation}`)
      await write("jan", now)
      const isKilled = await new Promise<boolean>((resolve, reject) => {
        const args = [CHILD, bed.url, bed.directory, server.endpoint, folder, String(operation)]
        execFile(process.execPath, args, (error, _stdout, stderr) => {
          if (error === null) resolve(false)
          else if (error.signal === "SIGKILL") resolve(true)
          else reject(new Error(stderr))
        })
      })
      const there = await stored()
      const named = (await published()).map((key) => there.get(key) ?? `{"id":"${key} is gone"}\n`)
      expect([[...before, "s1"].sort(), [...now, "s1"].sort()]).toContainEqual(idsIn(named))
      // What was killed is then of a version that never comes again.
      if (operation % 2 === 0) await write("jan", (now = [`b${operation}`]))
      expect(await bed.run(orders(), { wait: true })).toMatchObject({ status: "completed" })
      const after = await stored()
      expect([...after.keys()].sort()).toEqual(await published())
      expect(idsIn(after.values())).toEqual([...now, "s1"].sort())
      expect(await spool()).toEqual([])
      before = now
      if (!isKilled) break
      kills++
    }
    expect(kills).toBeGreaterThan(4)
    expect(await unbalanced(bed, "orders")).toEqual([])
  })
})

describe("the declaration of such a sink", () => {
  it("names what stores it, and changes with it, but holds no client", async () => {
    expect(() => jsonlFiles("s3://bucket/out")).toThrow(expect.objectContaining({ code: "CONFIG" }))
    expect(() => csvFiles("out", { storage: s3() })).toThrow(/folder of this machine/)
    expect(csvFiles("s3://bucket/out/", { storage: s3() }).folder).toBe("s3://bucket/out")
    const { definitionVersion } = await import("../../src/engine/definition-version.ts")
    const of = (endpoint: string): string =>
      definitionVersion(orders({ sink: jsonlFiles("s3://b/o", { storage: s3({ endpoint }) }) }))
    expect(of("http://a.example")).toBe(of("http://a.example"))
    expect(of("http://a.example")).not.toBe(of("http://b.example"))
  })
})
