import { expect, it } from "vitest"
import type { BudgetNote } from "../../src/core/breakers.ts"
import { budget, type Budget } from "../../src/resilience/index.ts"
import { BudgetNotes } from "../../src/resilience/budget-notes.ts"
import { manualClock } from "../../src/testing/clock.ts"

const bed = (fails = false) => {
  const clock = manualClock()
  const written: [name: string, available: number][] = []
  const errors: unknown[] = []
  const notes = new BudgetNotes({
    clock,
    write: (name: string, { available }: BudgetNote) => {
      written.push([name, available])
      return fails ? Promise.reject(new Error("no database")) : Promise.resolve()
    },
    onError: (error) => errors.push(error),
  })
  const watched = (name: string, reserve = 10): Budget => notes.watched(name, budget({ reserve, ratio: 0.5 }))
  return { clock, written, errors, notes, watched }
}

it("a budget that is drawn on is put down at once, then at most once a second, each host for itself, and at the end", async () => {
  const { clock, written, notes, watched } = bed()
  const a = watched("a.example", 2_000)
  for (let draw = 0; draw < 1_000; draw++) {
    a.withdraw()
    clock.advance(10)
  }
  watched("b.example").withdraw()
  await notes.settle()
  // Ten seconds of draws, a hundred a second.
  const expected = Array.from({ length: 10 }, (_, second) => ["a.example", 2_000 - second * 100 - 1])
  expect(written.slice(0, 10)).toEqual(expected)
  expect(written.slice(10)).toEqual([
    ["b.example", 9],
    ["a.example", 1_000],
    ["b.example", 9],
  ])
  expect(clock.sleeping).toBe(0)
})

it("calls that need no retry write nothing before the end", async () => {
  const { written, notes, watched } = bed()
  const watchedBudget = watched("a.example")
  for (let call = 0; call < 100; call++) watchedBudget.deposit()
  await notes.settle()
  expect(written).toEqual([["a.example", 60]])
})

it("it is the same budget, and a retry that is not given is put down too", async () => {
  const { clock, written, notes, watched } = bed()
  const made = watched("a.example", 1)
  expect(watched("a.example")).toBe(made)
  expect(made.withdraw()).toBe(true)
  clock.advance(1_000)
  expect(made.withdraw()).toBe(false)
  expect(made).toMatchObject({ available: 0, reserve: 1, capacity: 100 })
  await notes.settle()
  expect(written.slice(0, 2)).toEqual([
    ["a.example", 0],
    ["a.example", 0],
  ])
})

it("what cannot be put down disturbs nobody", async () => {
  const { errors, notes, watched } = bed(true)
  expect(watched("a.example").withdraw()).toBe(true)
  await notes.settle()
  expect(errors).toHaveLength(2)
})
