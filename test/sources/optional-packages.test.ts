import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { parquetWriteBuffer } from "hyparquet-writer"
import { afterAll, beforeAll, expect, it } from "vitest"

const INDEX = fileURLToPath(new URL("../../src/index.ts", import.meta.url))
const OPTIONAL = ["hyparquet", "hyparquet-compressors", "@aws-sdk/client-s3", "playwright-core"]

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "spillway-optional-"))
  const columnData = [{ name: "id", data: [1, 2, 3], type: "INT32" as const }]
  await writeFile(
    join(directory, "plain.parquet"),
    Buffer.from(parquetWriteBuffer({ columnData, codec: "UNCOMPRESSED" })),
  )
  const gzip = (input: Uint8Array): Uint8Array => input
  // Read only up to the question of who unpacks it.
  await writeFile(
    join(directory, "packed.parquet"),
    Buffer.from(parquetWriteBuffer({ columnData, codec: "GZIP", compressors: { GZIP: gzip } })),
  )
})
afterAll(() => rm(directory, { recursive: true, force: true }))

/** Runs a program in a process of its own in which `missing` is not installed; what it prints, as JSON. */
async function without(missing: string, program: string): Promise<unknown> {
  const hooked = `
    import { registerHooks } from "node:module"
    const asked = []
    registerHooks({
      resolve(name, context, next) {
        asked.push(name)
        return next(name === ${JSON.stringify(missing)} ? "not-installed/" + name : name, context)
      },
    })
    const { files } = await import(${JSON.stringify(INDEX)})
    const { postgres, s3 } = await import(${JSON.stringify(INDEX.replace("index.ts", "sources/index.ts"))})
    const { browser } = await import(${JSON.stringify(INDEX.replace("index.ts", "sources/browser/browser.ts"))})
    const { systemPorts } = await import(${JSON.stringify(INDEX.replace("index.ts", "core/ports.ts"))})
    const context = {
      ports: systemPorts,
      directory: ${JSON.stringify(directory)},
      signal: new AbortController().signal,
      exact: new Set(),
      maxRecordBytes: 1 << 20,
    }
    async function read(source) {
      let records = 0
      try {
        for (const partition of await source.list(context, new Map()))
          for await (const batch of source.read(partition, undefined, context)) records += batch.length
        return records
      } catch ({ name, code, message, hint }) {
        return { name, code, message, hint }
      }
    }
    console.log(JSON.stringify(${program}))`
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", hooked], {
    env: { ...process.env, NODE_NO_WARNINGS: "1" },
  })
  return JSON.parse(stdout)
}

const missing = (name: string) => ({
  name: "SpillwayError",
  code: "CONFIG",
  message: expect.stringContaining(`not installed: ${name}`) as string,
  hint: `npm install ${name}`,
})

it("importing the library loads none of the optional packages, and no driver", async () => {
  const asked = (await without("none", "asked")) as string[]
  expect(asked.length).toBeGreaterThan(50)
  expect(asked.filter((name) => [...OPTIONAL, "pg", "undici", "pg-boss"].includes(name))).toEqual([])
})

it("Parquet says what to install", async () => {
  expect(await without("hyparquet", `await read(files("plain.parquet"))`)).toEqual(missing("hyparquet"))
  expect(await without("hyparquet-compressors", `await read(files("packed.parquet"))`)).toEqual(
    missing("hyparquet-compressors"),
  )
  expect(await without("hyparquet-compressors", `await read(files("plain.parquet"))`)).toBe(3)
})

it("object storage says what to install", async () => {
  expect(
    await without("@aws-sdk/client-s3", `await read(files("s3://bucket/x.csv", { storage: s3({ region: "x" }) }))`),
  ).toEqual(missing("@aws-sdk/client-s3"))
})

it("rendered pages say what to install", async () => {
  expect(
    await without("playwright-core", `await read(browser({ url: "http://127.0.0.1:1/", extract: () => [] }))`),
  ).toEqual(missing("playwright-core"))
})
