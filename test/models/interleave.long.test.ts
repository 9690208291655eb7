import { afterAll, beforeAll, expect, test } from "vitest"
import { seededRandom, type Random } from "../../src/core/random.ts"
import type { Runnable } from "../../src/engine/project.ts"
import { failpoints, systemPorts } from "../../src/testing/index.ts"
import { modelBed, monthlyModel, monthlyOf, sale, salesPipeline, type ModelBed, type Sales } from "./engine-bed.ts"

/** As many as are asked for; every one is another. */
const INTERLEAVINGS = Number(process.env["INTERLEAVINGS"] ?? 60)

const FILES = { sales_a: ["a1", "a2", "a3"], sales_b: ["b1", "b2"] } as const
const PRODUCTS = ["ale", "bun"]
const MONTHS = 4
const MOST_ROWS = 4

/** Where one run's order among the others makes a difference: before and after it looks, builds, writes and commits. */
const WAITED_AT = [
  "leases.taken",
  "staging.created",
  "partition.staged",
  "publish.begun",
  "publish.rows-written",
  "publish.before-commit",
  "publish.committed",
] as const

let m: ModelBed
beforeAll(async () => {
  m = await modelBed()
})
afterAll(() => m.end())

/** Several runs that wait at every failpoint until they are told to go on: one at a time, chosen by chance. */
class Interleaving {
  readonly #random: Random
  readonly #ended: Promise<unknown>[] = []
  readonly #waiting: { readonly actor: string; readonly goOn: () => void }[] = []
  readonly #atWork = new Set<string>()
  #changed: () => void = () => undefined
  #looking: Promise<number> | undefined

  constructor(random: Random) {
    this.#random = random
  }

  /** Lets a run take part, from before its beginning. */
  add(actor: string, runnable: Runnable): void {
    this.#atWork.add(actor)
    const wait = (): Promise<void> =>
      new Promise((goOn) => {
        this.#waiting.push({ actor, goOn })
        this.#changed()
      })
    const ports = {
      ...systemPorts,
      failpoints: failpoints(Object.fromEntries(WAITED_AT.map((name) => [name, wait]))),
    }
    const run = async (): Promise<void> => {
      await wait()
      try {
        expect(await m.run(runnable, { ports })).toMatchObject({ status: "completed", held: [] })
      } finally {
        this.#atWork.delete(actor)
        this.#changed()
      }
    }
    this.#ended.push(run())
  }

  async toTheEnd(): Promise<void> {
    // Whatever fails is thrown at the end; nobody may be left waiting for ever.
    const outcomes = Promise.allSettled(this.#ended)
    while (this.#atWork.size > 0) {
      await this.#standStill()
      const [next] = this.#waiting.splice(Math.floor(this.#random.next() * this.#waiting.length), 1)
      next?.goOn()
    }
    await this.#looking
    for (const outcome of await outcomes) if (outcome.status === "rejected") throw outcome.reason
  }

  /** One look at a time: they share a connection. */
  #look(): Promise<number> {
    this.#looking ??= blocked().finally(() => (this.#looking = undefined))
    return this.#looking
  }

  /** Until each run waits here, or in the database for one that does. */
  async #standStill(): Promise<void> {
    for (;;) {
      const waiting = new Set(this.#waiting.map(({ actor }) => actor))
      const moving = [...this.#atWork].filter((actor) => !waiting.has(actor)).length
      if (moving === 0) return
      const changed = new Promise<undefined>((resolve) => (this.#changed = () => resolve(undefined)))
      const inTheDatabase = await (waiting.size === 0 ? changed : Promise.race([changed, this.#look()]))
      if (inTheDatabase !== undefined && inTheDatabase >= moving) return
    }
  }
}

/** Runs that wait for a lock, a few milliseconds from now. */
const blocked = (): Promise<number> =>
  m.bed.value(
    `SELECT count(DISTINCT application_name)::int FROM (SELECT pg_sleep(0.005) OFFSET 0) later, pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'spillway/%' AND cardinality(pg_blocking_pids(pid)) > 0`,
  )

/** Changes files of one pipeline: other rows, more, fewer or none. */
function change(sales: Sales, names: readonly string[], random: Random): void {
  const below = (n: number): number => Math.floor(random.next() * n)
  for (const name of names)
    if (random.next() < 0.6 || sales[name] === undefined)
      sales[name] = Array.from({ length: below(MOST_ROWS + 1) }, (_, i) =>
        sale(i, `2011-0${1 + below(MONTHS)}-${10 + below(18)}`, PRODUCTS[below(2)] as string, below(1000)),
      )
}

/** As if the model had never been: what it reads by is registered anew, while others write. */
async function forgetModel(): Promise<void> {
  await m.bed.rows("TRUNCATE ops.tracked_partitions, ops.touched_partitions")
  await m.bed.rows("DELETE FROM ops.processed_partitions WHERE pipeline_name = 'monthly'")
  await m.bed.rows("DELETE FROM ops.processed_months WHERE pipeline_name = 'monthly'")
}

/** Lines of `mart.monthly` by month. */
const byMonth = (lines: readonly string[]): Map<string, string> => {
  const months = new Map<string, string>()
  for (const line of lines) months.set(line.slice(0, 7), `${months.get(line.slice(0, 7)) ?? ""}${line}; `)
  return months
}

test(
  `${INTERLEAVINGS} interleavings of ingests and a build: no month is done on less than there is, and a quiet run mends the others`,
  { timeout: 600_000 },
  async () => {
    const model = monthlyModel()
    const sales: { a: Sales; b: Sales } = { a: {}, b: {} }
    const a = salesPipeline(() => sales.a, "sales_a")
    const b = salesPipeline(() => sales.b, "sales_b")
    const all = (): Sales => ({ ...sales.a, ...sales.b })
    change(sales.a, FILES.sales_a, seededRandom(0))
    await m.run(a)
    let stale = 0
    for (let seed = 1; seed <= INTERLEAVINGS; seed++) {
      const random = seededRandom(seed)
      change(sales.a, FILES.sales_a, random)
      const both = random.next() < 0.5
      if (both) change(sales.b, FILES.sales_b, random)
      if (seed === 1 || random.next() < 0.3) await forgetModel()
      const interleaving = new Interleaving(random)
      interleaving.add("a", a)
      if (both) interleaving.add("b", b)
      interleaving.add("model", model)
      await interleaving.toTheEnd()

      const should = byMonth(monthlyOf(all()))
      const is = byMonth(await m.lines("mart.monthly"))
      const todo = await m.todo(model)
      stale += Object.keys(todo).length
      for (let n = 1; n <= MONTHS; n++) {
        const key = `2011-0${n}`
        if (todo[key] === undefined) expect(is.get(key), `seed ${seed}: ${key} is done`).toBe(should.get(key))
      }
      if (Object.keys(todo).length === 0) continue
      expect(await m.run(model)).toMatchObject({ status: "completed", held: [] })
      expect(await m.lines("mart.monthly"), `seed ${seed}: after a quiet run`).toEqual(monthlyOf(all()))
      expect(await m.todo(model), `seed ${seed}: after a quiet run`).toEqual({})
    }
    // Otherwise they were no interleavings.
    expect(stale).toBeGreaterThan(INTERLEAVINGS / 4)
  },
)
