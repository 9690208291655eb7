import { describe, expect, it } from "vitest"
import { bulkhead, compose, milliseconds, retry, timeout } from "../../src/resilience/index.ts"
import { virtualTime } from "./virtual-time.ts"

describe("the bulkhead", () => {
  it("lets so many through at once, the others in the order they came", async () => {
    const time = virtualTime()
    const wall = bulkhead({ concurrent: 3 })
    const begun: number[] = []
    let running = 0
    let most = 0
    const all = Array.from({ length: 20 }, (_, n) =>
      wall
        .execute(async () => {
          begun.push(n)
          running += 1
          most = Math.max(most, running)
          await time.clock.sleep(100)
          running -= 1
          if (n % 4 === 0) throw new Error("a place is left after a failure, too")
        })
        .catch(() => undefined),
    )
    await time.pass(1_000)
    await Promise.all(all)
    expect(most).toBe(3)
    expect(begun).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect([wall.running, wall.waiting]).toEqual([0, 0])
  })

  it("refuses when its queue is full, and lets who gives up leave it", async () => {
    const wall = bulkhead({ concurrent: 1, queue: 1, what: "api.example.com" })
    const { promise, resolve } = Promise.withResolvers<void>()
    const first = wall.execute(() => promise)
    const controller = new AbortController()
    const second = wall.execute(() => "never", { signal: controller.signal })
    await expect(wall.execute(() => 1)).rejects.toMatchObject({
      code: "RESOURCE",
      class: "transient",
      where: "api.example.com",
    })
    controller.abort()
    await expect(second).rejects.toMatchObject({ code: "CANCELLED" })
    expect(wall.waiting).toBe(0)
    resolve()
    await first
    expect(await wall.execute(() => 2)).toBe(2)
  })
})

describe("composition", () => {
  it("goes from the outermost to the innermost: a time-out per try, and one for all", async () => {
    const time = virtualTime()
    const tries: number[] = []
    const policy = compose(
      timeout("10s", { what: "all of it", clock: time.clock }),
      retry({ ports: time.ports, attempts: Infinity, jitter: "none" }),
      timeout("2s", { what: "one try", clock: time.clock }),
    )
    const signals: AbortSignal[] = []
    const settled = await time.outcome(
      policy.execute(({ signal, attempt }) => {
        tries.push(attempt)
        if (signal !== undefined) signals.push(signal)
        return new Promise(() => undefined)
      }),
    )
    expect(settled).toMatchObject({ error: { code: "TIMEOUT", where: "all of it" } })
    // 0, 2.2, 4.6, 7.4: the fifth would begin at 11 s.
    expect(tries).toEqual([1, 2, 3, 4])
    expect(signals.every(({ aborted }) => aborted)).toBe(true)
    expect(time.clock.sleeping).toBe(0)
  })
})

describe("durations", () => {
  it("are milliseconds or a number with a unit", () => {
    expect([0, 250, Infinity, "1s", "200ms", "30 minutes", "2h", "1 day"].map((d) => milliseconds(d, "x"))).toEqual([
      0,
      250,
      Infinity,
      1_000,
      200,
      1_800_000,
      7_200_000,
      86_400_000,
    ])
    for (const wrong of [-1, NaN, "", "1", "s", "1 fortnight", "-1s"])
      expect(() => milliseconds(wrong, "maxDelay")).toThrow(
        expect.objectContaining({ code: "CONFIG", where: "maxDelay" }),
      )
  })
})
