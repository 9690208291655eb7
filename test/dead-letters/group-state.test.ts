import fc from "fast-check"
import { expect, it } from "vitest"
import { nextState } from "../../src/dead-letters/group-state.ts"
import type { GroupEvidence, GroupState } from "../../src/ledger/dead-letter-groups.ts"

const HOUR = 3_600_000
const NOW = Date.UTC(2026, 10, 21, 12)
const STATES: readonly GroupState[] = ["new", "ongoing", "escalating", "regressed", "resolved", "suppressed"]

/** The rules as a table, the first that applies decides. Written from the description, not from the code. */
const RULES: readonly [
  when: (e: GroupEvidence, hours: { age: number; inState: number }) => boolean,
  then: GroupState,
][] = [
  [
    (e) => e.state === "suppressed" && e.suppressedUntil !== undefined && e.suppressedUntil.getTime() > NOW,
    "suppressed",
  ],
  [(e) => e.state === "suppressed" && e.open >= 1, "ongoing"],
  [(e) => e.open === 0, "resolved"],
  [(e) => e.state === "resolved" && e.fresh === 0, "resolved"],
  [(e) => e.state === "resolved", "regressed"],
  [
    (e, { age }) => age >= 1 && e.state !== "escalating" && e.lastHour >= 20 && e.lastHour * 24 >= e.dayBefore * 3,
    "escalating",
  ],
  [
    (e, { age }) => age >= 1 && e.state === "escalating" && e.lastHour >= 20 && e.lastHour * 24 >= e.dayBefore * 1.5,
    "escalating",
  ],
  [(e, { age }) => (e.state === undefined || e.state === "new") && age < 24, "new"],
  [(e, { inState }) => e.state === "regressed" && inState < 24, "regressed"],
  [() => true, "ongoing"],
]

const hoursAgo = fc.oneof(fc.constantFrom(0, 1, 23, 24, 25), fc.double({ min: 0, max: 72, noNaN: true }))
const count = fc.oneof(fc.constantFrom(0, 1, 19, 20, 21), fc.nat(500))
const evidence = fc.record({
  state: fc.constantFrom(undefined, ...STATES),
  age: hoursAgo,
  inState: hoursAgo,
  suppressedFor: fc.option(fc.constantFrom(-1, 0, 1), { nil: undefined }),
  open: count,
  fresh: count,
  lastHour: count,
  dayBefore: fc.oneof(fc.constantFrom(0, 160, 159, 161, 320, 321), fc.nat(5_000)),
})

it("follows the table, whatever the evidence", () => {
  const seen = new Set<string>()
  fc.assert(
    fc.property(evidence, ({ age, inState, suppressedFor, ...rest }) => {
      const given: GroupEvidence = {
        ...rest,
        now: new Date(NOW),
        firstSeen: new Date(NOW - age * HOUR),
        since: new Date(NOW - inState * HOUR),
        suppressedUntil: suppressedFor === undefined ? undefined : new Date(NOW + suppressedFor * HOUR),
      }
      const hours = { age: (NOW - given.firstSeen.getTime()) / HOUR, inState: (NOW - given.since.getTime()) / HOUR }
      const expected = RULES.find(([when]) => when(given, hours))?.[1]
      expect(nextState(given)).toBe(expected)
      seen.add(`${given.state} > ${expected}`)
    }),
    { numRuns: 5_000 },
  )
  for (const way of [
    "undefined > new",
    "new > ongoing",
    "ongoing > escalating",
    "escalating > ongoing",
    "resolved > regressed",
    "regressed > ongoing",
    "suppressed > ongoing",
    "suppressed > resolved",
    "new > resolved",
  ])
    expect(seen).toContain(way)
})

it("settles: looking again at the same evidence changes nothing more than once", () => {
  fc.assert(
    fc.property(evidence, ({ age, suppressedFor: _s, inState: _i, ...rest }) => {
      const at = {
        now: new Date(NOW),
        firstSeen: new Date(NOW - age * HOUR),
        since: new Date(NOW),
        suppressedUntil: undefined,
      }
      const second = nextState({ ...rest, ...at, fresh: 0, state: nextState({ ...rest, ...at }) })
      const third = nextState({ ...rest, ...at, fresh: 0, state: second })
      expect(third).toBe(second)
    }),
  )
})
