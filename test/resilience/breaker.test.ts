import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import { seededRandom } from "../../src/core/random.ts"
import {
  memoryBreakerStore,
  circuitBreaker,
  type BreakerChange,
  type BreakerStore,
} from "../../src/resilience/index.ts"
import { virtualTime } from "./virtual-time.ts"

const broken = (): SpillwayError => new SpillwayError("NETWORK", "the connection broke")
const SETTINGS = {
  window: 1_000,
  minimumCalls: 4,
  failureRatio: 0.5,
  openFor: 500,
  probes: 2,
  probeTimeout: 300,
} as const

/**
 * The breaker as a reader of its documentation would write it down, naively: every call is kept with the time it ended. It slides by a tenth of the
 * window, as promised.
 */
class Reference {
  #ended: { at: number; ok: boolean }[] = []
  #openUntil: number | undefined
  #passed = 0
  #probe: { call: number; gone: number } | undefined

  admits(call: number, now: number): "call" | "probe" | "no" {
    if (this.#openUntil === undefined) return "call"
    if (now < this.#openUntil) return "no"
    if (this.#probe !== undefined && now < this.#probe.gone) return "no"
    this.#probe = { call, gone: now + SETTINGS.probeTimeout }
    return "probe"
  }

  ends(call: number, as: "call" | "probe", outcome: "ok" | "failed" | "cancelled", now: number): void {
    if (as === "probe") {
      if (this.#probe?.call !== call) return
      this.#probe = undefined
      if (outcome === "failed") this.#open(now)
      if (outcome === "ok" && ++this.#passed === SETTINGS.probes) this.#openUntil = undefined
      return
    }
    if (this.#openUntil !== undefined || outcome === "cancelled") return
    this.#ended.push({ at: now, ok: outcome === "ok" })
    const slice = SETTINGS.window / 10
    const counted = this.#ended.filter(({ at }) => Math.floor(at / slice) * slice > now - SETTINGS.window)
    const failed = counted.filter(({ ok }) => !ok).length
    const isTripped = counted.length >= SETTINGS.minimumCalls && failed / counted.length >= SETTINGS.failureRatio
    if (outcome === "failed" && isTripped) this.#open(now)
  }

  #open(now: number): void {
    this.#openUntil = now + SETTINGS.openFor
    this.#passed = 0
    this.#probe = undefined
    this.#ended = []
  }
}

type Step =
  { do: "begin" } | { do: "end"; which: number; outcome: "ok" | "failed" | "cancelled" } | { do: "wait"; ms: number }

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.constant({ do: "begin" as const }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("end" as const),
        which: fc.nat({ max: 20 }),
        outcome: fc.constantFrom("ok" as const, "failed" as const, "failed" as const, "cancelled" as const),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 700 }) }) },
  ),
  { minLength: 20, maxLength: 80 },
)

/** Everything that can go on among promises, without a real timer. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve()
}

describe("the circuit breaker", () => {
  it("does what the reference does, over 10,000 random sequences", async () => {
    let probes = 0
    let refusals = 0
    await fc.assert(
      fc.asyncProperty(steps, async (plan) => {
        const { clock, ports } = virtualTime()
        const breaker = circuitBreaker({ name: "api", ...SETTINGS, ports })
        const reference = new Reference()
        const open: { call: number; as: "call" | "probe"; resolve: () => void; reject: (error: Error) => void }[] = []
        const now = (): number => clock.now()
        for (const [call, step] of plan.entries()) {
          if (step.do === "wait") clock.advance(step.ms)
          if (step.do === "begin") {
            const expected = reference.admits(call, now())
            const { promise, resolve, reject } = Promise.withResolvers<void>()
            let begun = false
            const running = breaker.execute(() => {
              begun = true
              return promise
            })
            let refused: unknown
            running.catch((error: unknown) => (refused = error))
            await settle()
            if (begun !== (expected !== "no")) return false
            if (expected === "no") {
              refusals += 1
              if (!(refused instanceof SpillwayError) || refused.code !== "CIRCUIT_OPEN") return false
            } else open.push({ call, as: expected, resolve, reject })
            if (expected === "probe") probes += 1
          }
          if (step.do === "end") {
            const [ended] = open.splice(step.which % Math.max(1, open.length), 1)
            if (ended === undefined) continue
            if (step.outcome === "ok") ended.resolve()
            if (step.outcome === "failed") ended.reject(broken())
            if (step.outcome === "cancelled") ended.reject(new SpillwayError("CANCELLED", "given up"))
            await settle()
            reference.ends(ended.call, ended.as, step.outcome, now())
          }
        }
        return true
      }),
      { numRuns: 10_000 },
    )
    // The sequences went where it matters.
    expect(probes).toBeGreaterThan(1_000)
    expect(refusals).toBeGreaterThan(1_000)
  })

  it("says when to come back, and tells of every change", async () => {
    const time = virtualTime()
    const changes: BreakerChange[] = []
    const breaker = circuitBreaker({ name: "api", ...SETTINGS, ports: time.ports, onChange: (c) => changes.push(c) })
    for (let n = 0; n < 4; n++) await breaker.execute(() => Promise.reject(broken())).catch(() => undefined)
    await expect(breaker.execute(() => 1)).rejects.toMatchObject({
      code: "CIRCUIT_OPEN",
      class: "transient",
      where: "api",
      context: { breaker: "api", retryAt: "2026-01-01T00:00:00.500Z", retryAfterMs: 500 },
    })
    await time.pass(500)
    await breaker.execute(() => 1)
    await breaker.execute(() => 1)
    expect(changes.map(({ from, to }) => `${from} > ${to}`)).toEqual([
      "closed > open",
      "open > half_open",
      "half_open > closed",
    ])
    expect(changes[0]?.retryAt).toBe(Date.UTC(2026, 0, 1) + 500)
  })

  it("lets one probe through at a time when the service recovers, however many ask", async () => {
    const time = virtualTime()
    const store = memoryBreakerStore(time.clock)
    const clients = Array.from({ length: 20 }, (_, index) =>
      circuitBreaker({
        name: "api",
        ...SETTINGS,
        probes: 5,
        store,
        ports: { ...time.ports, random: seededRandom(index) },
      }),
    )
    const [first] = clients
    for (let n = 0; n < 4; n++) await first?.execute(() => Promise.reject(broken())).catch(() => undefined)
    await time.pass(500)
    let running = 0
    let most = 0
    let done = 0
    const attempt = async (breaker: (typeof clients)[number]): Promise<void> => {
      await breaker
        .execute(async () => {
          running += 1
          most = Math.max(most, running)
          await time.clock.sleep(50)
          running -= 1
          done += 1
        })
        .catch(() => undefined)
    }
    for (let round = 0; round < 5; round++) {
      const all = Promise.all(clients.map(attempt))
      await time.pass(60)
      await all
    }
    expect(most).toBe(1)
    expect(done).toBe(5)
    const afterwards = Promise.all(clients.map(attempt))
    await time.pass(60)
    await afterwards
    expect(most).toBe(20)
  })

  it("goes on by itself when its store is away, and says so", async () => {
    const time = virtualTime()
    const away = (): Promise<never> => Promise.reject(new SpillwayError("DB_UNAVAILABLE", "the database is away"))
    const store: BreakerStore = { staleAfterMs: 1_000, read: away, write: away }
    const told: unknown[] = []
    const breaker = circuitBreaker({
      name: "api",
      ...SETTINGS,
      store,
      ports: time.ports,
      onStoreError: (e) => told.push(e),
    })
    expect(await breaker.execute(() => "fine")).toBe("fine")
    for (let n = 0; n < 4; n++) await breaker.execute(() => Promise.reject(broken())).catch(() => undefined)
    await expect(breaker.execute(() => 1)).rejects.toMatchObject({ code: "CIRCUIT_OPEN" })
    expect(told.length).toBeGreaterThan(0)
  })

  it("asks a shared store once in a while as long as all goes well, and loses no count", async () => {
    const time = virtualTime()
    const inner = memoryBreakerStore(time.clock)
    let reads = 0
    const store: BreakerStore = { ...inner, staleAfterMs: 100, read: (name) => (reads++, inner.read(name)) }
    const breaker = circuitBreaker({ name: "api", ...SETTINGS, minimumCalls: 100, store, ports: time.ports })
    const call = (fails: boolean): Promise<unknown> =>
      breaker.execute(() => (fails ? Promise.reject(broken()) : 1)).catch(() => undefined)
    for (let n = 0; n < 60; n++) await call(false)
    expect(reads).toBeLessThan(5)
    for (let n = 0; n < 59; n++) await call(true)
    expect(breaker.state).toBe("closed")
    await call(true)
    expect(breaker.state).toBe("open")
  })

  it.each([
    [{ failureRatio: 0 }, "failureRatio"],
    [{ failureRatio: 1.1 }, "failureRatio"],
    [{ minimumCalls: 0 }, "minimumCalls"],
    [{ probes: 0 }, "probes"],
    [{ window: "0s" }, "window"],
  ])("refuses %j by name", (wrong, where) => {
    expect(() => circuitBreaker({ name: "api", ...wrong })).toThrow(expect.objectContaining({ code: "CONFIG", where }))
  })
})
