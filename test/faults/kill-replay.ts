// node test/faults/kill-replay.ts [N] [--seed S] [--only K]
//
// Kills a replay of dead letters at every failpoint and at N random moments (in every third while another replay of the same letters
// goes on), lets an ordinary one follow, and looks whether each letter has come to exactly one end and each record is in the table once.
import { fileURLToPath } from "node:url"
import pg from "pg"
import { seededRandom } from "../../src/core/random.ts"
import { replayLetters } from "../../src/engine/replay/replay.ts"
import { run } from "../../src/index.ts"
import { REPLAY_FAILPOINTS } from "../../src/testing/index.ts"
import { killsOf, placeOf, AT_RANDOM } from "./kill-moments.ts"
import type { ReplayOrders } from "./kill-replay-child.ts"
import { killOrders, monthly, ORDERS, PATCHED_PRICE, replayOf, writeOrders, type Mode } from "./kill-replay-project.ts"
import type { KillServer } from "./kill-server.ts"
import { SteppingProcess } from "./stepping-process.ts"
import type { KillAt } from "./stepping.ts"
import { killTest, trialArguments, type Outcome, type Trial } from "./trials.ts"

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
      await this.#server.create(`start_${mode}`)
      await this.#follow(mode, this.#server.urlOf(`start_${mode}`))
      trails[mode] = await this.#undisturbed(mode)
    }
    return trails as Record<Mode, string[]>
  }

  #undisturbed(mode: Mode): Promise<string[]> {
    return this.#server.withCopy(`start_${mode}`, async (name) => {
      const trail = await this.#child(mode, name, undefined)
      await this.#follow(mode, this.#server.urlOf(name))
      const faults = await faultsOf(this.#server.urlOf(name), false)
      if (trail.at(-1) !== "END completed" || faults.length > 0)
        throw new Error(`the undisturbed replay is wrong: ${trail.at(-1)}\n  ${faults.join("\n  ")}`)
      return trail.slice(0, -1)
    })
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
  kill({ run: mode, killAt, beside }: ReplayKill): Promise<Outcome> {
    return this.#server.withCopy(`start_${mode}`, async (name) => {
      const url = this.#server.urlOf(name)
      const replay = () => replayLetters(killOrders(mode), replayOf(url, this.#server.directory))
      const [trail, other] = await Promise.all([this.#child(mode, name, killAt), beside ? replay() : undefined])
      const faults: string[] = []
      for (const report of [other, await replay()])
        if (report !== undefined && report.status !== "completed")
          faults.push(`a replay ended ${report.status}: ${report.error?.message}`)
      await this.#follow(mode, url)
      faults.push(...(await faultsOf(url, beside)))
      return { last: trail.at(-1) ?? "", faults }
    })
  }

  #child(mode: Mode, name: string, killAt: KillAt | undefined): Promise<string[]> {
    const { directory, cache } = this.#server
    const orders: ReplayOrders = { url: this.#server.urlOf(name), directory, mode, killAt }
    return new SteppingProcess<ReplayOrders>(CHILD, { cache }).follow(orders)
  }
}

interface ReplayKill extends Trial {
  readonly run: Mode
  readonly killAt: KillAt
  readonly beside: boolean
}

function replayKills(trails: Readonly<Record<Mode, string[]>>, count: number, seed: number): ReplayKill[] {
  let atRandom = 0
  return killsOf(trails, REPLAY_FAILPOINTS, { count, random: seededRandom(seed) }).map((kill) => {
    const beside = kill.kind === AT_RANDOM && ++atRandom % 3 === 0
    const about = `${kill.run}, ${placeOf(kill.killAt)}`
    return { ...kill, beside, about, kind: beside ? "beside another" : kill.kind }
  })
}

const args = trialArguments(20, {})
await killTest(args, async (server, trials) => {
  const bench = new Bench(server)
  const trails = await bench.prepare()
  const kills = replayKills(trails, args.count, args.seed)
  const steps = MODES.map((mode) => trails[mode].length)
  console.log(`seed ${args.seed}: ${kills.length} kills, of replays of ${steps.join(" and ")} steps`)
  await trials.play(kills, (kill) => bench.kill(kill))
})
