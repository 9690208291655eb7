import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import { seededRandom } from "../../src/core/random.ts"
import { budget, circuitBreaker, compose, memoryBreakerStore, retry, timeout } from "../../src/resilience/index.ts"
import { virtualTime } from "./virtual-time.ts"

const broken = (): SpillwayError => new SpillwayError("NETWORK", "the connection broke")

describe("a storm of 50 clients, each with retries, a budget and a breaker that all share", () => {
  it("adds little while the service is down, and meets it with one probe at a time when it is back", async () => {
    const time = virtualTime(7)
    const { clock } = time
    const store = memoryBreakerStore(clock)
    const shared = budget()
    const service = { isUp: false, running: 0 }
    let calls = 0
    /** Each request that reached the service: when, how many were under way with it, and whether the breaker was closed then. */
    const requests: { at: number; together: number; wasClosed: boolean }[] = []
    const serve = async (): Promise<void> => {
      service.running += 1
      const { stored } = await store.read("api")
      requests.push({ at: clock.monotonic(), together: service.running, wasClosed: stored?.state === "closed" })
      await clock.sleep(40)
      service.running -= 1
      if (!service.isUp) throw broken()
    }
    const client = async (seed: number): Promise<void> => {
      const ports = { clock, random: seededRandom(seed) }
      const breaker = circuitBreaker({ name: "api", openFor: "5s", probes: 5, store, ports })
      const policy = compose(retry({ ports, budget: shared }), breaker)
      while (clock.monotonic() < 100_000) {
        calls += 1
        await policy.execute(serve).catch(() => undefined)
        await clock.sleep(200)
      }
    }
    const clients = Promise.all(Array.from({ length: 50 }, (_, seed) => client(seed)))
    await time.pass(60_000, 20)
    const [callsDown, requestsDown] = [calls, requests.length]
    expect(callsDown).toBeGreaterThan(500)
    expect(requestsDown).toBeLessThanOrEqual(1.2 * callsDown + 10)
    // What opened it, a probe every 5 s, and what was under way at the time.
    expect(requestsDown).toBeLessThan(20 + 50 + 12)
    service.isUp = true
    await time.pass(140_000, 20)
    await clients
    const back = requests.slice(requestsDown)
    const closed = back.findIndex(({ wasClosed }) => wasClosed)
    // One may have been on its way when the service came back.
    expect(closed).toBeGreaterThanOrEqual(5)
    expect(closed).toBeLessThanOrEqual(6)
    expect(back.slice(0, closed).map(({ together }) => together)).toEqual(Array(closed).fill(1))
    expect(back.length).toBeGreaterThan(1_000)
  })
})

describe("whatever becomes of a call", () => {
  it("no timer is left, and it ends within its time", async () => {
    const plan = fc.array(
      fc.record({ takes: fc.integer({ min: 0, max: 3_000 }), heeds: fc.boolean(), fails: fc.boolean() }),
      { maxLength: 6 },
    )
    await fc.assert(
      fc.asyncProperty(
        plan,
        fc.option(fc.integer({ min: 0, max: 8_000 })),
        fc.integer(),
        async (tries, abortAt, seed) => {
          const time = virtualTime(seed)
          const { clock, ports } = time
          const policy = compose(
            timeout("6s", { clock }),
            retry({ ports, attempts: 4, deadline: "5s", budget: budget() }),
            circuitBreaker({ name: "api", minimumCalls: 2, ports }),
            timeout("1s", { clock }),
          )
          const controller = new AbortController()
          let sleepers = 0
          let calls = 0
          let endedAt: number | undefined
          const running = policy.execute(
            async ({ signal }) => {
              const { takes = 0, heeds = true, fails = true } = tries[calls++] ?? {}
              sleepers += 1
              // A body that does not heed its signal has a timer of its own for as long as it takes.
              await clock.sleep(takes, heeds ? signal : undefined).finally(() => (sleepers -= 1))
              if (fails) throw broken()
            },
            { signal: controller.signal },
          )
          running.catch(() => undefined).finally(() => (endedAt = clock.monotonic()))
          for (let passed = 0; endedAt === undefined && passed <= 10_000; passed += 50) {
            if (abortAt !== null && passed >= abortAt) controller.abort()
            await time.pass(50, 50)
          }
          const limit = abortAt === null ? 5_000 : Math.min(5_000, abortAt)
          return clock.sleeping === sleepers && (endedAt ?? Infinity) <= limit + 100
        },
      ),
      { numRuns: 300 },
    )
  })
})
