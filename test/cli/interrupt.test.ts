import { EventEmitter } from "node:events"
import { expect, it } from "vitest"
import { interruptOf, type SignalTarget } from "../../src/cli/interrupt.ts"
import { SpillwayError } from "../../src/core/errors.ts"
import { manualClock } from "../../src/testing/clock.ts"

function interrupted() {
  const emitter = new EventEmitter()
  const seen: string[] = []
  const target = Object.assign(emitter, {
    exit: (code: number) => seen.push(`exit ${code}`),
  }) as unknown as SignalTarget
  const clock = manualClock()
  const interrupt = interruptOf(
    target,
    clock,
    () => seen.push("told"),
    () => seen.push("left"),
  )
  return { press: (name = "SIGINT") => emitter.emit(name), emitter, seen, clock, interrupt }
}

it("stops once, then at once", () => {
  const { press, seen, clock, interrupt } = interrupted()
  press()
  expect(seen).toEqual(["told"])
  expect(interrupt.signal.reason).toBeInstanceOf(SpillwayError)
  expect(interrupt.signal.reason).toMatchObject({ code: "CANCELLED" })
  clock.advance(1_000)
  press()
  expect(seen).toEqual(["told", "left", "exit 130"])
})

it("takes a key press that a launcher passes on a second time for one", () => {
  const { press, seen, clock } = interrupted()
  press()
  clock.advance(20)
  press()
  expect(seen).toEqual(["told"])
})

it("SIGTERM is like once, however often it comes; Ctrl-C after it ends at once", () => {
  const { press, seen, clock } = interrupted()
  press("SIGTERM")
  clock.advance(1_000)
  press("SIGTERM")
  expect(seen).toEqual(["told"])
  press("SIGINT")
  expect(seen).toEqual(["told", "left", "exit 130"])
})

it("leaves no listener behind", () => {
  const { emitter, interrupt } = interrupted()
  interrupt.dispose()
  expect(emitter.listenerCount("SIGINT") + emitter.listenerCount("SIGTERM")).toBe(0)
})
