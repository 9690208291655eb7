import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { open } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { createGzip } from "node:zlib"
import { pipeline as piped } from "node:stream/promises"
import { createReadStream, createWriteStream } from "node:fs"
import { afterAll, beforeAll, expect, test } from "vitest"
import type { Counts } from "../../src/core/events.ts"
import { testBed, type Bed } from "../engine/bed.ts"

let bed: Bed
beforeAll(async () => {
  bed = await testBed()
})
afterAll(() => bed.end())

const script = fileURLToPath(new URL("./long-line-run.ts", import.meta.url))

interface Outcome {
  status: string
  counts: Counts
  deadLetters: Record<string, number>
  held: unknown[]
  peakMb: number
}

async function load(name: string): Promise<Outcome> {
  const { stdout } = await promisify(execFile)(process.execPath, [script, bed.url, bed.directory, name])
  return JSON.parse(stdout) as Outcome
}

/** Of a line that is too long. */
const HEAD_KEPT = 64 * 1024
const MEGABYTE = Buffer.alloc(1 << 20, "x")

/** `before`, 64 MB of x, `after`: written piece by piece. Gives the SHA-256 of the long line. */
async function writeLong(name: string, before: string, head: string, tail: string, after: string): Promise<string> {
  const hash = createHash("sha256")
  const file = await open(join(bed.directory, name), "w")
  try {
    await file.write(before)
    const write = async (piece: string | Buffer): Promise<void> => {
      hash.update(piece)
      await file.write(Buffer.from(piece))
    }
    await write(head)
    for (let n = 0; n < 64; n++) await write(MEGABYTE)
    await write(tail)
    await file.write(after)
  } finally {
    await file.close()
  }
  return hash.digest("hex")
}

test.each([
  ["csv", "id,what\n1,one\n", "2,", "", "\n3,three\n"],
  ["quoted.csv", "id,what\n1,one\n", '2,"', '"', "\n3,three\n"],
  ["jsonl", '{"id":1,"what":"one"}\n', '{"id":2,"what":"', '"}', '\n{"id":3,"what":"three"}\n'],
])("a line of 64 MB (%s) costs its record and no memory", async (ending, before, head, tail, after) => {
  const name = `long.${ending}`
  const sha256 = await writeLong(name, before, head, tail, after)
  await bed.write(`short.${ending}`, `${before}${after.slice(1)}`)
  const short = await load(`short.${ending}`)
  expect(short.counts).toMatchObject({ read: 2, inserted: 2 })
  const long = await load(name)
  expect(long).toMatchObject({
    status: "completed",
    counts: { read: 3, inserted: 2, deadLettered: 1 },
    deadLetters: { DECODE: 1 },
  })
  // Chunks on their way to the garbage collector, but never the line and a copy of it.
  expect(long.peakMb - short.peakMb).toBeLessThan(100)
  expect(long.peakMb).toBeLessThan(220)
  expect(
    await bed.rows(
      `SELECT rule, length(raw)::int AS kept, oversize, (source->>'line')::int AS line FROM ops.dead_letters WHERE partition_key = $1`,
      [name],
    ),
  ).toEqual([
    {
      rule: "too_long",
      kept: HEAD_KEPT,
      oversize: { bytes: (64 << 20) + head.length + tail.length, sha256 },
      line: before.split("\n").length,
    },
  ])
})

test("inside a gzip too", async () => {
  await writeLong("packed.csv", "id,what\n1,one\n", "2,", "", "\n3,three\n")
  const packed = join(bed.directory, "packed.csv.gz")
  await piped(createReadStream(join(bed.directory, "packed.csv")), createGzip(), createWriteStream(packed))
  const outcome = await load("packed.csv.gz")
  expect(outcome.counts).toMatchObject({ read: 3, inserted: 2, deadLettered: 1 })
  expect(outcome.peakMb).toBeLessThan(220)
})
