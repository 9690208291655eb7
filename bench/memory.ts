// npm run bench:memory [-- --rows 1000000,10000000 --wide 200]
// Peak resident memory of the command (without the server) over growing input: it must stay flat.
import { once } from "node:events"
import { createWriteStream } from "node:fs"
import { mkdir, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { runCommand } from "./command.ts"
import { writeOrders } from "./orders.ts"
import { benchServer, seconds } from "./server.ts"

const LIMIT_MIB = 200
const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000,10000000" },
    wide: { type: "string", default: "200" },
    wideRows: { type: "string", default: "200000" },
  },
})
const ORDERS = fileURLToPath(new URL("./orders-project.ts", import.meta.url))

const server = await benchServer()
let exceeded = false
try {
  for (const rows of values.rows.split(",").map(Number)) {
    const data = join(server.directory, `orders-${rows}`)
    await mkdir(data)
    await writeOrders(join(data, "a.csv"), rows)
    await measure(`${rows} orders`, ORDERS, { BENCH_DATA: data })
    await rm(data, { recursive: true })
  }
  const width = Number(values.wide)
  const project = await wideProject(width, Number(values.wideRows))
  await measure(`${values.wideRows} rows of ${width} columns`, project, {})
} finally {
  await server.stop()
}
process.exitCode = exceeded ? 1 : 0

async function measure(what: string, project: string, env: NodeJS.ProcessEnv): Promise<void> {
  const db = await server.fresh()
  const { peakBytes, wallMs, report } = await runCommand(project, { ...env, DATABASE_URL: db.url })
  await db.drop()
  const peak = (peakBytes ?? 0) / 2 ** 20
  exceeded ||= peak > LIMIT_MIB
  console.log(
    `${what.padEnd(30)} peak ${peak.toFixed(0)} MiB (at most ${LIMIT_MIB}), ${seconds(wallMs)}, ${report.counts.inserted} inserted`,
  )
}

/** A project over one file with many columns, half of them numbers. */
async function wideProject(width: number, rows: number): Promise<string> {
  const folder = join(server.directory, "wide")
  await mkdir(folder)
  const names = Array.from({ length: width }, (_, n) => `c${n}`)
  const stream = createWriteStream(join(folder, "wide.csv"))
  stream.write(names.join(",") + "\n")
  for (let row = 0; row < rows; row++) {
    const line = names.map((_, n) => (n % 2 === 0 ? String(row * 31 + n) : `text ${(row + n) % 97}`)).join(",") + "\n"
    if (!stream.write(line)) await once(stream, "drain")
  }
  await new Promise((done) => stream.end(done))
  const properties = Object.fromEntries(names.map((name, n) => [name, { type: n % 2 === 0 ? "integer" : "string" }]))
  await writeFile(
    join(folder, "spillway.config.ts"),
    `import { files, pipeline, project, table } from ${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)}
export default project({ pipelines: [pipeline({ name: "wide", source: files("wide.csv"),
  schema: ${JSON.stringify({ type: "object", properties, required: names })}, sink: table("wide", { key: ["c0"] }) })] })\n`,
  )
  return folder
}
