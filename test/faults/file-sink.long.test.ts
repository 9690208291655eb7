import { execFile } from "node:child_process"
import { readdir, readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, expect, test } from "vitest"
import { testBed, unbalanced, type Bed } from "../engine/bed.ts"
import { partedOrders } from "./file-sink-pipeline.ts"

const CHILD = fileURLToPath(new URL("file-sink-child.ts", import.meta.url))

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

/** Runs in a process of its own that is killed at the nth file operation; gives what it said, `killed` when it was. */
const killedAt = (operation: number): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(process.execPath, [CHILD, bed.url, bed.directory, String(operation)], (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else if (error.signal === "SIGKILL") resolve("killed")
      else reject(new Error(stderr))
    })
  })

const write = (name: string, ids: readonly string[]) =>
  bed.write(`in/${name}.csv`, `id\n${ids.map((id) => `${id}\n`).join("")}`)
const folder = async (): Promise<string[]> => (await readdir(`${bed.directory}/out`)).sort()
const idsOf = async (names: readonly string[]): Promise<string[]> => {
  const texts = await Promise.all(names.map((name) => readFile(`${bed.directory}/out/${name}`, "utf8")))
  return texts
    .flatMap((text) =>
      text
        .split("\n")
        .slice(0, -1)
        .map((line) => (JSON.parse(line) as { id: string }).id),
    )
    .sort()
}
/** The files that the ledger says are published. */
const published = async (): Promise<string[]> => {
  const rows = await bed.rows<{ name: string }>(
    `SELECT f->>'name' AS name FROM ops.source_positions, jsonb_array_elements(position->'files') f WHERE pipeline_name = 'orders' ORDER BY 1`,
  )
  return rows.map(({ name }) => name)
}

test(
  "killed at any file operation: what the ledger names is whole, and the next run leaves exactly that",
  { timeout: 300_000 },
  async () => {
    const steady = ["s1"]
    await write("steady", steady)
    await write("jan", ["a1", "a2", "a3", "a4", "a5"])
    expect(await bed.run(partedOrders)).toMatchObject({ status: "completed" })
    let before = ["a1", "a2", "a3", "a4", "a5"]
    let kills = 0
    for (let operation = 0; ; operation++) {
      const now = Array.from({ length: 1 + (operation % 5) }, (_, i) => `a${i}v${operation}`)
      await write("jan", now)
      const said = await killedAt(operation)
      // Whatever was renamed or not: the files that the ledger names are there, with one whole version.
      expect([[...before, ...steady].sort(), [...now, ...steady].sort()]).toContainEqual(await idsOf(await published()))
      expect(await bed.run(partedOrders, { wait: true })).toMatchObject({ status: "completed" })
      expect(await folder()).toEqual(await published())
      expect(await idsOf(await folder())).toEqual([...now, ...steady].sort())
      before = now
      if (said !== "killed") break
      kills++
    }
    expect(kills).toBeGreaterThan(8)
    expect(await unbalanced(bed, "orders")).toEqual([])
    expect(await bed.run(partedOrders)).toMatchObject({ counts: { read: 0 } })
  },
)
