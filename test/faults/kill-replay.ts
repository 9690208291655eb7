// node test/faults/kill-replay.ts [N] [--seed S] [--only K]
//
// Kills a replay of dead letters at every failpoint and at N random moments (in every third while another replay of the same letters
// goes on), lets an ordinary one follow, and looks whether each letter has come to exactly one end and each record is in the table once.
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import pg from "pg"
import { seededRandom } from "../../src/core/random.ts"
import { replayLetters } from "../../src/engine/replay/replay.ts"
import { run } from "../../src/index.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database } from "../../src/postgres/session.ts"
import { REPLAY_FAILPOINTS } from "../../src/testing/index.ts"
import type { ReplayOrders } from "./kill-replay-child.ts"
import { killOrders, monthly, ORDERS, PATCHED_PRICE, replayOf, writeOrders, type Mode } from "./kill-replay-project.ts"
import { KillServer } from "./kill-server.ts"
import { trailOf } from "./stepping-process.ts"

const CHILD = fileURLToPath(new URL("kill-replay-child.ts", import.meta.url))
const MODES: readonly Mode[] = ["upsert", "append"]

const isLong = (name: string): boolean => name.length > 8
const isBad = ({ name, price }: (typeof ORDERS)[number]): boolean => isLong(name) || price.startsWith("-")

/** What is to be there, by the rules that made the orders. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  [`SELECT concat_ws(' ', id, name, price::numeric(20, 2), day) AS line FROM shop.orders`]: ORDERS.filter(
    ({ name }) => !isLong(name),
  ).map(({ id, name, price, day }) => `${id} ${name} ${price.startsWith("-") ? PATCHED_PRICE : price} ${day}`),
  [`SELECT concat_ws(' ', source->>'file', source->>'line', status = 'replayed') AS line FROM ops.dead_letters`]:
    ORDERS.filter(isBad).map(({ file, line, name }) => `${file} ${line} ${isLong(name) ? "f" : "t"}`),
  [`SELECT concat_ws(' ', d.source->>'file', d.source->>'line') AS line
    FROM ops.replay_letters o JOIN ops.dead_letters d ON d.id = o.letter_id WHERE o.outcome = 'loaded'`]: ORDERS.filter(
    (order) => isBad(order) && !isLong(order.name),
  ).map(({ file, line }) => `${file} ${line}`),
  [`SELECT concat_ws(' ', month_key, orders) AS line FROM shop.monthly`]: [
    ...Map.groupBy(
      ORDERS.filter(({ name }) => !isLong(name)),
      ({ day }) => day.slice(0, 7),
    ),
  ].map(([key, orders]) => `${key} ${orders.length}`),
  [`SELECT d.id AS line FROM ops.dead_letters d
    WHERE attempts <> 1 + (SELECT count(*) FROM ops.replay_letters o WHERE o.letter_id = d.id)`]: [],
  [`SELECT replay_id || ' ' || status AS line FROM ops.replays r WHERE status <> 'completed' OR outcomes IS DISTINCT FROM (
      SELECT coalesce(jsonb_object_agg(outcome, n), '{}') FROM (
        SELECT outcome, count(*) AS n FROM ops.replay_letters o WHERE o.replay_id = r.replay_id GROUP BY 1) c)`]: [],
  [`SELECT relname AS line FROM pg_class WHERE relnamespace = 'ops_staging'::regnamespace AND relkind = 'r'
      AND relname NOT IN ('progress', 'dead_letters')`]: [],
}

/** Where nobody else replayed: all of it was one operation, which tried each letter once. */
const ALONE: typeof EXPECTED = {
  [`SELECT count(*)::text AS line FROM ops.replays`]: ["1"],
  [`SELECT DISTINCT attempts::text AS line FROM ops.dead_letters`]: ["2"],
}

async function faultsOf(url: string, beside: boolean): Promise<string[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const faults: string[] = []
    for (const [query, should] of Object.entries(beside ? EXPECTED : { ...EXPECTED, ...ALONE })) {
      const is = (await client.query<{ line: string }>(query)).rows.map(({ line }) => line).sort()
      const expected = [...should].sort()
      if (is.join("\n") === expected.join("\n")) continue
      const at = is.findIndex((line, n) => line !== expected[n])
      faults.push(
        `${is.length} lines for ${expected.length}; first "${is[at]}" for "${expected[at]}": ${query.slice(0, 90)}`,
      )
    }
    return faults
  } finally {
    await client.end()
  }
}

class Bench {
  readonly #server: KillServer

  constructor(server: KillServer) {
    this.#server = server
  }

  /** A database per mode with orders, letters and months; and what an undisturbed replay does. */
  async prepare(): Promise<Record<Mode, string[]>> {
    await writeOrders(this.#server.directory)
    const trails: Partial<Record<Mode, string[]>> = {}
    for (const mode of MODES) {
      await this.#server.query(`CREATE DATABASE start_${mode} TEMPLATE template0`)
      const url = this.#server.urlOf(`start_${mode}`)
      const session = await database(url).connect()
      await migrate(session, migrations)
      await session.end()
      await this.#follow(mode, url)
      const name = await this.#server.copy(`start_${mode}`, false)
      const trail = await this.#child(mode, name, undefined)
      await this.#follow(mode, this.#server.urlOf(name))
      const faults = await faultsOf(this.#server.urlOf(name), false)
      if (trail.at(-1) !== "END completed" || faults.length > 0)
        throw new Error(`the undisturbed replay is wrong: ${trail.at(-1)}\n  ${faults.join("\n  ")}`)
      await this.#server.drop(name)
      trails[mode] = trail.slice(0, -1)
    }
    return trails as Record<Mode, string[]>
  }

  /** Runs of the pipeline and of what is built from its table. */
  async #follow(mode: Mode, url: string): Promise<void> {
    for (const runnable of [killOrders(mode), monthly()]) {
      const report = await run(runnable, { database: url, directory: this.#server.directory })
      if (report.status !== "completed")
        throw new Error(`${runnable.name} ended ${report.status}: ${report.error?.message}`)
    }
  }

  /** A kill, an ordinary replay and run after it (or a replay beside it), and what is wrong then. */
  async kill({ mode, killAt, beside }: Moment): Promise<{ last: string; faults: string[] }> {
    const name = await this.#server.copy(`start_${mode}`, false)
    const url = this.#server.urlOf(name)
    const replay = () => replayLetters(killOrders(mode), replayOf(url, this.#server.directory))
    try {
      const other = beside ? replay() : undefined
      const trail = await this.#child(mode, name, killAt)
      const faults: string[] = []
      for (const report of [await other, await replay()])
        if (report !== undefined && report.status !== "completed")
          faults.push(`a replay ended ${report.status}: ${report.error?.message}`)
      await this.#follow(mode, url)
      return { last: trail.at(-1) ?? "", faults: [...faults, ...(await faultsOf(url, beside))] }
    } catch (error) {
      return { last: "", faults: [`what followed threw ${String(error)}`] }
    } finally {
      await this.#server.drop(name)
    }
  }

  #child(mode: Mode, name: string, killAt: number | undefined): Promise<string[]> {
    const { directory } = this.#server
    const orders: ReplayOrders = { url: this.#server.urlOf(name), directory, mode, killAt }
    return trailOf(CHILD, orders, join(directory, "compiled"))
  }
}

interface Moment {
  readonly kind: string
  readonly mode: Mode
  readonly killAt: number
  readonly beside: boolean
}

function momentsOf(trails: Record<Mode, string[]>, random: number, seed: number): Moment[] {
  const { next } = seededRandom(seed)
  const moments: Moment[] = []
  for (const name of REPLAY_FAILPOINTS)
    for (const mode of MODES) {
      const hits = trails[mode].flatMap((line, i) => (line === `F ${name}` ? [i + 1] : []))
      if (hits.length === 0) throw new Error(`an undisturbed replay never comes to ${name}`)
      moments.push({ kind: name, mode, killAt: hits[Math.floor(next() * hits.length)] as number, beside: false })
    }
  for (let n = 0; n < random; n++) {
    const mode = MODES[n % MODES.length] as Mode
    const beside = n % 3 === 2
    const killAt = 1 + Math.floor(next() * trails[mode].length)
    moments.push({ kind: beside ? "beside another" : "at random", mode, killAt, beside })
  }
  return moments
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seed: { type: "string" }, only: { type: "string" } },
  })
  const random = Number(positionals[0] ?? "20")
  if (!Number.isInteger(random) || random < 0) throw new Error(`N is not a whole number: ${positionals[0]}`)
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(values.seed)
  const server = await KillServer.start()
  let passed = 0
  let failed = 0
  const kinds = new Map<string, number>()
  try {
    const bench = new Bench(server)
    const trails = await bench.prepare()
    const moments = momentsOf(trails, random, seed)
    console.log(
      `seed ${seed}: ${moments.length} kills, of replays of ${MODES.map((m) => trails[m].length).join(" and ")} steps`,
    )
    for (const [i, moment] of moments.entries()) {
      if (values.only !== undefined && Number(values.only) !== i + 1) continue
      const { last, faults } = await bench.kill(moment)
      if (faults.length === 0) {
        passed++
        kinds.set(moment.kind, (kinds.get(moment.kind) ?? 0) + 1)
        continue
      }
      failed++
      console.log(
        `FAILED  --seed ${seed} --only ${i + 1}: ${moment.kind}, ${moment.mode}, after "${last}"\n  ${faults.join("\n  ")}`,
      )
    }
  } finally {
    await server.remove()
  }
  for (const [kind, count] of kinds) console.log(`${kind.padEnd(24)} ${count} passed`)
  console.log(`${passed} passed, ${failed} failed`)
  return failed === 0
}

process.exitCode = (await main()) ? 0 : 1
