import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import { colorsFor } from "../../src/cli/colors.ts"
import { statusText, type StatusView } from "../../src/cli/status-text.ts"
import { listBreakers, sharedBreakers, type SharedBreakers } from "../../src/ledger/breakers.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { readStatus } from "../../src/ledger/status.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Session } from "../../src/postgres/session.ts"
import { circuitBreaker, type CircuitBreaker } from "../../src/resilience/index.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { envelope, projectFolder, spillwayHere } from "./command-line.ts"

let fresh: FreshDatabase
let session: Session
let store: SharedBreakers

beforeAll(async () => {
  fresh = await freshDatabase()
  session = await database(fresh.url).connect()
  await migrate(session, migrations)
  store = sharedBreakers(database(fresh.url), { staleAfterMs: 0 })
})

afterAll(async () => {
  await store.end()
  await session.end()
  await fresh.drop()
})

/** A breaker of the library itself: what `status` shows is what it wrote. */
const breaker = (name: string): CircuitBreaker =>
  circuitBreaker({ name, minimumCalls: 1, openFor: "1 hour", probes: 3, probeTimeout: "1 hour", store })

const fail = (at: CircuitBreaker): Promise<unknown> =>
  at.execute(() => Promise.reject(new SpillwayError("NETWORK", "broken"))).catch(() => undefined)

/** A breaker that is open, as if the time had passed after which the next call is tried. */
async function due(name: string): Promise<CircuitBreaker> {
  const made = breaker(name)
  await fail(made)
  await session.query("UPDATE ops.breakers SET retry_at = now() WHERE name = $1", [name])
  return made
}

describe("breakers in status", () => {
  it("are shown when they are not closed: since when, and when the next try is", async () => {
    await breaker("fine.example").execute(() => 1)
    await fail(breaker("open.example"))
    await due("due.example")
    const half = await due("half.example")
    await half.execute(() => 1)
    const probing = await due("probing.example")
    const answer = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const probe = probing.execute(() => (begun.resolve(), answer.promise))
    await begun.promise
    await session.query(
      "INSERT INTO ops.breakers (name, state, stats) VALUES ('hand.example', 'half_open', '{\"probe\": 7}')",
    )

    const shown = (await listBreakers(session)).map(({ name, state, isProbing, passedProbes }) => [
      name,
      state,
      isProbing,
      passedProbes,
    ])
    expect(shown).toEqual([
      ["due.example", "open", false, 0],
      ["half.example", "half_open", false, 1],
      ["hand.example", "half_open", false, 0],
      ["open.example", "open", false, 0],
      ["probing.example", "half_open", true, 0],
      ["fine.example", "closed", false, 0],
    ])

    const view: StatusView = { ...(await readStatus(session)), partitions: new Map(), overdue: new Map() }
    const text = statusText([], view, { colors: colorsFor({}, {}), unicode: true })
    expect(text.split("\n")).toEqual([
      "circuit breakers",
      expect.stringMatching(/^ {2}◆ open {7}due\.example {6}since just now {2}the next call is tried$/),
      expect.stringMatching(
        /^ {2}▲ half-open {2}half\.example {5}since just now {2}the next call is tried, 1 trial call succeeded$/,
      ),
      expect.stringMatching(/^ {2}▲ half-open {2}hand\.example {5}since just now {2}the next call is tried$/),
      expect.stringMatching(
        /^ {2}◆ open {7}open\.example {5}since just now {2}next try in (?:1 h 00 min|59 min \d\d s)$/,
      ),
      expect.stringMatching(
        /^ {2}▲ half-open {2}probing\.example {2}since just now {2}a trial call is on its way, given up in (?:1 h 00 min|59 min \d\d s)$/,
      ),
    ])
    answer.resolve()
    await probe
  })

  it("are in --json, closed ones too", async () => {
    const folder = await projectFolder({ ".spillway/keep": "" })
    const answer = await spillwayHere(["status", "--json", "--project", folder.directory], { DATABASE_URL: fresh.url })
    await folder.remove()
    const { breakers } = envelope(answer).data as {
      breakers: { name: string; state: string; nextTryAt: string | null }[]
    }
    const open = breakers.find(({ name }) => name === "open.example")
    expect(open).toMatchObject({ state: "open", openedAt: expect.any(String) as unknown })
    expect(Date.parse(open?.nextTryAt ?? "")).toBeGreaterThan(Date.now())
    expect(breakers.find(({ name }) => name === "fine.example")).toMatchObject({ state: "closed", nextTryAt: null })
  })
})
