import { describe, expect, it } from "vitest"
import { systemClock } from "../../src/core/clock.ts"
import { timeout } from "../../src/resilience/index.ts"
import { virtualTime } from "./virtual-time.ts"

const forever = (): Promise<never> => new Promise(() => undefined)

describe("a time-out", () => {
  it("comes at its time, also when that is further away than the longest timer", async () => {
    const month = 30 * 86_400_000
    const longestTimer = 2 ** 31 - 1
    const time = virtualTime()
    let ended: unknown
    timeout(month, time.ports)
      .execute(forever)
      .catch((error: unknown) => (ended = error))
    await time.pass(longestTimer, longestTimer)
    await time.pass(month - longestTimer - 1, month)
    expect(ended).toBeUndefined()
    await time.pass(1, 1)
    expect(ended).toMatchObject({ code: "TIMEOUT", context: { timeoutMs: month } })
    expect(time.clock.sleeping).toBe(0)
  })

  it("leaves no timer, whichever part of it is waited for when it is given up", async () => {
    for (const passed of [0, 2 ** 31 + 5]) {
      const time = virtualTime()
      const controller = new AbortController()
      const running = timeout("30 days", time.ports).execute(forever, { signal: controller.signal })
      running.catch(() => undefined)
      await time.pass(passed, 2 ** 30)
      expect(time.clock.sleeping).toBe(1)
      controller.abort()
      await expect(running).rejects.toMatchObject({ code: "CANCELLED" })
      expect(time.clock.sleeping).toBe(0)
    }
  })

  it("holds by the system's clock, too, and calls nothing that was given up", async () => {
    await expect(timeout(1).execute(forever)).rejects.toMatchObject({ code: "TIMEOUT" })
    const called: string[] = []
    const cancel = systemClock.after(1, () => called.push("given up"))
    cancel()
    await new Promise<void>((resolve) => systemClock.after(5, resolve))
    expect(called).toEqual([])
  })
})
