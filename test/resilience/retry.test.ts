import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import { seededRandom } from "../../src/core/random.ts"
import {
  additiveJitter,
  attemptsOf,
  budget,
  compose,
  retry,
  RetryError,
  timeout,
  withRetry,
} from "../../src/resilience/index.ts"
import { virtualTime } from "./virtual-time.ts"

const broken = (): SpillwayError => new SpillwayError("NETWORK", "the connection broke", { hint: "look at the cable" })
const throttled = (ms: number): SpillwayError =>
  new SpillwayError("HTTP_429", "slow down", { context: { retryAfterMs: ms } })

/** Fails with each of the errors in turn, then succeeds with the number of calls. */
function failing(...errors: unknown[]): { body: () => Promise<number>; calls: () => number } {
  let calls = 0
  return {
    calls: () => calls,
    body: () => {
      const error = errors[calls]
      calls += 1
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- also what is no error
      return error === undefined ? Promise.resolve(calls) : Promise.reject(error)
    },
  }
}

async function errorOf<T>(time: ReturnType<typeof virtualTime>, promise: Promise<T>): Promise<unknown> {
  const settled = await time.outcome(promise)
  if ("value" in settled) throw new Error("it succeeded")
  return settled.error
}

describe("retry", () => {
  it("calls until it succeeds, and tells of each wait", async () => {
    const time = virtualTime()
    const told: number[] = []
    const { body, calls } = failing(broken(), broken())
    const policy = retry({ ports: time.ports, jitter: "none", onRetry: ({ delayMs }) => told.push(delayMs) })
    expect(await time.outcome(policy.execute(body))).toEqual({ value: 3 })
    expect(calls()).toBe(3)
    expect(told).toEqual([200, 400])
    expect(time.clock.sleeping).toBe(0)
  })

  it("wraps a function: 1, 2, 4 s, each and up to 1 s more, then the error with every attempt", async () => {
    const time = virtualTime()
    const begun: number[] = []
    const cause = new Error("boom")
    const load = withRetry(
      (page: number) => {
        begun.push(time.clock.monotonic())
        return Promise.reject<string>(new Error(`boom ${page}`, { cause }))
      },
      { attempts: 4, baseDelay: "1s", jitter: additiveJitter("1s"), ports: time.ports },
    )
    const error = await errorOf(time, load(7))
    expect(error).toBeInstanceOf(RetryError)
    const { code, attempts, context, hint, message } = error as RetryError
    expect(code).toBe("RETRY_EXHAUSTED")
    expect(message).toContain("4 attempts")
    expect(message).toContain("boom 7")
    expect(hint).not.toBe("")
    expect(attempts.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4])
    expect(attempts.map((attempt) => (attempt.cause as Error).message)).toEqual(Array(4).fill("boom 7"))
    expect(attempts.map(({ time: at }) => at)).toEqual(begun.map((at) => Date.UTC(2026, 0, 1) + at))
    expect(JSON.parse(JSON.stringify(context["attempts"]))).toMatchObject([
      { attempt: 1, error_code: "UNKNOWN", time: "2026-01-01T00:00:00.000Z", duration_ms: 0 },
      { attempt: 2 },
      { attempt: 3 },
      { attempt: 4 },
    ])
    const gaps = begun.slice(1).map((at, i) => at - (begun[i] ?? 0))
    for (const [i, gap] of gaps.entries()) {
      expect(gap).toBeGreaterThanOrEqual(1_000 * 2 ** i)
      // The clock of this test moves in steps of 10 ms.
      expect(gap).toBeLessThanOrEqual(1_000 * 2 ** i + 1_010)
    }
  })

  it.each([
    ["a refusal", new SpillwayError("HTTP_4XX", "no such page")],
    ["a mistake in the program", new TypeError("undefined is not a function")],
    ["an abort", new DOMException("aborted", "AbortError")],
  ])("passes on %s as it is, with what failed before", async (_what, final) => {
    const time = virtualTime()
    const { body, calls } = failing(broken(), final)
    const error = await errorOf(time, retry({ ports: time.ports }).execute(body))
    expect(error).toBe(final)
    expect(calls()).toBe(2)
    expect(attemptsOf(error).map(({ error_code }) => error_code)[0]).toBe("NETWORK")
  })

  it("tries failures of fetch again", async () => {
    const time = virtualTime()
    const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" })
    const { body } = failing(new TypeError("fetch failed", { cause: reset }))
    expect(await time.outcome(retry({ ports: time.ports }).execute(body))).toEqual({ value: 2 })
  })

  it("counts tries and waits from one again after a try that got further", async () => {
    const time = virtualTime()
    const waits: number[] = []
    const further = new Set([3, 5])
    const { body, calls } = failing(...Array.from({ length: 20 }, broken))
    const policy = retry({
      ports: time.ports,
      attempts: 3,
      jitter: "none",
      renewIf: () => further.has(calls()),
      onRetry: ({ attempt, delayMs }) => waits.push(attempt, delayMs),
    })
    const error = await errorOf(time, policy.execute(body))
    expect(error).toMatchObject({ code: "RETRY_EXHAUSTED", reason: "attempts" })
    expect((error as RetryError).attempts).toHaveLength(7)
    expect(waits).toEqual([1, 200, 2, 400, 3, 200, 4, 400, 5, 200, 6, 400])
  })

  it("keeps the last failure's code when asked to", async () => {
    const time = virtualTime()
    const { body } = failing(broken(), broken())
    const error = await errorOf(time, retry({ ports: time.ports, attempts: 2, keepCode: true }).execute(body))
    expect(error).toMatchObject({ code: "NETWORK", class: "terminal", hint: "look at the cable" })
  })

  it("never passes its deadline, whatever the tries take and ignore", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.integer({ min: 1, max: 20_000 }),
        fc.array(fc.record({ takes: fc.integer({ min: 0, max: 10_000 }), heeds: fc.boolean() }), { maxLength: 12 }),
        async (seed, deadline, plan) => {
          const time = virtualTime(seed)
          let calls = 0
          let end = Infinity
          const lateBegins: number[] = []
          const policy = retry({ ports: time.ports, attempts: Infinity, deadline, maxDelay: "5s" })
          const running = policy
            .execute(async ({ signal }) => {
              if (time.clock.monotonic() > deadline) lateBegins.push(time.clock.monotonic())
              const { takes = 100, heeds = true } = plan[calls++] ?? {}
              await time.clock.sleep(takes, heeds ? signal : undefined)
              throw broken()
            })
            .catch(() => undefined)
            .finally(() => (end = time.clock.monotonic()))
          for (let passed = 0; end === Infinity && passed < 40_000; passed += 100) await time.pass(100, 100)
          await running
          return lateBegins.length === 0 && end <= Math.ceil(deadline / 100) * 100
        },
      ),
      { numRuns: 60 },
    )
  })

  it("begins nothing after its deadline when it is woken late", async () => {
    const { clock, ports } = virtualTime()
    const late = {
      ...clock,
      monotonic: () => clock.monotonic(),
      sleep: (ms: number) => Promise.resolve(clock.advance(ms + 5_000)),
    }
    const { body, calls } = failing(broken(), broken())
    const running = retry({ ports: { ...ports, clock: late }, deadline: "2s" }).execute(body)
    await expect(running).rejects.toMatchObject({ code: "RETRY_EXHAUSTED", reason: "deadline" })
    expect(calls()).toBe(1)
  })

  it("lets a try finish that is under way at the deadline, where it is told to", async () => {
    const time = virtualTime()
    const policy = retry({ ports: time.ports, deadline: "1s", finishLastTry: true })
    expect(await time.outcome(policy.execute(() => time.clock.sleep(5_000)))).toEqual({ value: undefined })
    const slow = time.clock.sleep(5_000).then(() => Promise.reject(broken()))
    expect(
      await errorOf(
        time,
        policy.execute(() => slow),
      ),
    ).toMatchObject({ reason: "deadline" })
  })

  it("tells a failure that is none of giving up, although it was given up", async () => {
    const controller = new AbortController()
    const failed = new SpillwayError("CONSERVATION", "a record is missing")
    const running = retry().execute(
      () => {
        controller.abort()
        throw failed
      },
      { signal: controller.signal },
    )
    await expect(running).rejects.toBe(failed)
  })

  it("leaves no timer when it is given up, in a wait or in a try", async () => {
    for (const at of [5, 300]) {
      const time = virtualTime()
      const controller = new AbortController()
      const policy = compose(
        timeout("1 minute", time.ports),
        retry({ ports: time.ports, jitter: "none", minDelay: 250 }),
      )
      const running = policy.execute(
        async ({ signal }) => {
          await time.clock.sleep(100, signal)
          throw broken()
        },
        { signal: controller.signal },
      )
      running.catch(() => undefined)
      await time.pass(at, 5)
      expect(time.clock.sleeping).toBeGreaterThan(0)
      controller.abort()
      await expect(running).rejects.toMatchObject({ code: "CANCELLED", class: "cancelled" })
      expect(time.clock.sleeping).toBe(0)
    }
  })

  it("begins nothing for a signal that is aborted already, and passes on a reason of ours", async () => {
    const time = virtualTime()
    const reason = new SpillwayError("LEASE_LOST", "somebody else took over")
    const { body, calls } = failing()
    const running = retry({ ports: time.ports }).execute(body, { signal: AbortSignal.abort(reason) })
    await expect(running).rejects.toBe(reason)
    expect(calls()).toBe(0)
  })

  it("has no limit on time where it is told so, and outlasts the longest timer", async () => {
    const time = virtualTime()
    const month = 30 * 86_400_000
    const policy = retry({ ports: time.ports, deadline: Infinity, minDelay: month, maxDelay: month, attempts: 2 })
    const { body, calls } = failing(broken())
    const running = policy.execute(body)
    const longestTimer = 2 ** 31 - 1
    await time.pass(longestTimer, longestTimer)
    await time.pass(month - longestTimer - 1, month)
    expect(calls()).toBe(1)
    await time.pass(2, 1)
    expect(await running).toBe(2)
  })

  it.each([
    [{ attempts: 0 }, "attempts"],
    [{ attempts: 1.5 }, "attempts"],
    [{ deadline: "never" }, "deadline"],
    [{ retryAfterCeiling: -1 }, "retryAfterCeiling"],
  ])("refuses %j by name", (wrong, where) => {
    expect(() => retry(wrong)).toThrow(expect.objectContaining({ code: "CONFIG", where }))
  })
})

describe("Retry-After", () => {
  it("is never undercut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 0, max: 60_000 }), async (seed, asked) => {
        const waits: number[] = []
        const ports = { ...virtualTime().ports, random: seededRandom(seed) }
        const clock = { ...ports.clock, sleep: (ms: number) => Promise.resolve(void waits.push(ms)) }
        const { body } = failing(throttled(asked))
        await retry({ ports: { ...ports, clock }, deadline: Infinity }).execute(body)
        return waits.length === 1 && (waits[0] ?? -1) >= asked
      }),
    )
  })

  it("ends the call beyond the ceiling, with the time to come back", async () => {
    const time = virtualTime()
    const { body, calls } = failing(throttled(3_600_000))
    const error = await errorOf(time, retry({ ports: time.ports }).execute(body))
    expect(calls()).toBe(1)
    expect(error).toMatchObject({
      code: "HTTP_429",
      class: "throttled",
      reason: "retry-after",
      context: { retryAt: "2026-01-01T01:00:00.000Z" },
    })
    expect((error as SpillwayError).hint).toContain("2026-01-01T01:00:00.000Z")
  })

  it("is sat out up to the ceiling, whatever the deadline allows", async () => {
    const time = virtualTime()
    const policy = retry({ ports: time.ports, deadline: Infinity, retryAfterCeiling: "10s" })
    expect(await time.outcome(policy.execute(failing(throttled(10_000)).body))).toEqual({ value: 2 })
    const error = await errorOf(time, policy.execute(failing(throttled(10_001)).body))
    expect(error).toMatchObject({ code: "HTTP_429", reason: "retry-after" })
  })

  it("ends the call when the pause reaches beyond the deadline", async () => {
    const time = virtualTime()
    const { body } = failing(throttled(30_000))
    const error = await errorOf(time, retry({ ports: time.ports, deadline: "20s" }).execute(body))
    expect(error).toMatchObject({ code: "HTTP_429", class: "throttled", reason: "retry-after" })
  })
})

describe("the budget", () => {
  it("has ten retries in hand, and one more for five calls", () => {
    const purse = budget()
    const spend = (): number => {
      let spent = 0
      while (purse.withdraw()) spent += 1
      return spent
    }
    expect(spend()).toBe(10)
    for (let call = 0; call < 4; call++) purse.deposit()
    expect(spend()).toBe(0)
    purse.deposit()
    expect(spend()).toBe(1)
    for (let call = 0; call < 100_000; call++) purse.deposit()
    expect(spend()).toBe(100)
  })

  it("ends a call that would overdraw it, before waiting", async () => {
    const time = virtualTime()
    const { body, calls } = failing(broken())
    const policy = retry({ ports: time.ports, budget: budget({ reserve: 0, ratio: 0.2 }) })
    const error = await errorOf(time, policy.execute(body))
    expect(error).toMatchObject({ code: "RETRY_BUDGET", reason: "budget", cause: { code: "NETWORK" } })
    expect(calls()).toBe(1)
    expect(time.clock.monotonic()).toBeLessThanOrEqual(10)
  })
})

describe("a retry storm", () => {
  it("stays below 1.2 attempts per call once the budget is drained: 50 clients, a minute, every call fails", async () => {
    const time = virtualTime(7)
    const shared = budget()
    const policy = retry({ ports: time.ports, budget: shared })
    let calls = 0
    let attempts = 0
    let drained: { calls: number; attempts: number } | undefined
    const client = async (): Promise<void> => {
      while (time.clock.monotonic() < 60_000) {
        calls += 1
        const ended = policy.execute(async () => {
          attempts += 1
          await time.clock.sleep(20)
          throw broken()
        })
        await ended.catch(() => undefined)
        if (shared.available < 1) drained ??= { calls, attempts }
        await time.clock.sleep(200)
      }
    }
    const clients = Promise.all(Array.from({ length: 50 }, client))
    await time.pass(120_000, 20)
    await clients
    expect(calls).toBeGreaterThan(5_000)
    expect(drained).toBeDefined()
    const since = { calls: calls - (drained?.calls ?? 0), attempts: attempts - (drained?.attempts ?? 0) }
    // Calls under way when the budget ran out may count on one side only.
    expect(since.attempts).toBeLessThanOrEqual(1.2 * since.calls + 50)
    expect(attempts).toBeLessThanOrEqual(1.2 * calls + 10)
    // It is a budget, not a ban.
    expect(attempts).toBeGreaterThan(1.15 * calls)
  })
})
