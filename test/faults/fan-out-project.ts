// The project that the fan-out test lets several processes work on: 120 monthly files, some of which cannot be read at first.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const PIPELINE = "orders"
export const ROWS_PER_FILE = 40
const FIRST_YEAR = 2001
const YEARS = 10

/** `data/2001-01.csv` and so on. */
export const KEYS: readonly string[] = Array.from({ length: YEARS * 12 }, (_, n) => {
  const month = String((n % 12) + 1).padStart(2, "0")
  return `data/${FIRST_YEAR + Math.floor(n / 12)}-${month}.csv`
})

/** These cannot be read the first two times, and this one never. */
export const FLAKY: readonly string[] = [3, 21, 47, 80, 113].map((n) => KEYS[n] ?? "")
export const BROKEN = KEYS[60] ?? ""

export const amountOf = (file: number, row: number): number => ((file * 31 + row * 7) % 500) + 1

export interface FanOutProject {
  readonly directory: string
  remove(): Promise<void>
}

/** Writes it to a folder of its own. Every reading of a file takes `readMs`, and leaves a mark in `marks`. */
export async function fanOutProject(readMs: number): Promise<FanOutProject> {
  const directory = await mkdtemp(join(tmpdir(), "spillway-fan-out-"))
  await mkdir(join(directory, "data"))
  await mkdir(join(directory, "marks"))
  for (const [n, key] of KEYS.entries()) {
    const lines = Array.from({ length: ROWS_PER_FILE }, (_, row) => `${n * ROWS_PER_FILE + row},${amountOf(n, row)}`)
    await writeFile(join(directory, key), `id,amount\n${lines.join("\n")}\n`)
  }
  await writeFile(join(directory, "spillway.config.ts"), configText(readMs))
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) }
}

const configText = (readMs: number): string => `
import { readdirSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { csv, files, pipeline, project, SpillwayError, table } from "${new URL("../../src/index.ts", import.meta.url).href}"
import { z } from "${import.meta.resolve("zod")}"

const FLAKY = ${JSON.stringify(FLAKY)}
const BROKEN = ${JSON.stringify(BROKEN)}
const marks = join(import.meta.dirname, "marks")
const inner = files("data/*.csv", { format: csv() })

function timesRead(key) {
  const name = basename(key)
  const earlier = readdirSync(marks).filter((mark) => mark.startsWith(name)).length
  writeFileSync(join(marks, name + "." + process.pid + "." + process.hrtime.bigint()), "")
  return earlier + 1
}

const source = {
  ...inner,
  list: (context, known) => inner.list(context, known),
  read(partition, from, context) {
    const reader = inner.read(partition, from, context)
    const times = timesRead(partition.key)
    return {
      get columns() { return reader.columns },
      async *[Symbol.asyncIterator]() {
        await delay(${readMs})
        if (partition.key === BROKEN || (FLAKY.includes(partition.key) && times <= 2))
          throw new SpillwayError("NETWORK", "the share did not answer (reading " + times + ")", { class: "terminal", hint: "try again" })
        yield* reader
      },
    }
  },
}

export default project({
  pipelines: [pipeline({
    name: "${PIPELINE}",
    source,
    schema: z.object({ id: z.number().int(), amount: z.number().int() }),
    sink: table("bronze.orders", { key: ["id"] }),
  })],
})
`
