import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { colorsFor } from "../../src/cli/colors.ts"
import {
  legend,
  notDoneLines,
  partitionGrid,
  partitionList,
  shapeOf,
  showsUnicode,
  type GridStyle,
} from "../../src/cli/partition-grid.ts"
import type { PartitionCondition, PartitionState } from "../../src/ledger/partition-states.ts"

const style: GridStyle = { colors: colorsFor({}, {}), unicode: true }
const plain: GridStyle = { ...style, unicode: false }
const states = (of: Record<string, PartitionCondition>): PartitionState[] =>
  Object.entries(of).map(([key, state]) => ({ key, state }))

const months = states({
  "2010-12": "done",
  "2011-01": "done",
  "2011-02": "failed",
  "2011-03": "stale",
  "2011-05": "missing",
  "2011-07": "in-progress",
})

describe("the grid", () => {
  it("shows months as rows of years", () => {
    expect(partitionGrid(months, style)).toEqual([
      "      J F M A M J J A S O N D",
      "2010                        ●",
      "2011  ● ◆ ▲ · ○ · ◐",
    ])
    expect(legend(months, style)).toBe("● 2 done  ◐ 1 in progress  ▲ 1 stale  ○ 1 missing  ◆ 1 failed")
  })

  it("has a letter for each sign where the terminal has no signs", () => {
    expect(partitionGrid(months, plain)).toEqual([
      "      J F M A M J J A S O N D",
      "2010                        D",
      "2011  D F S . M . P",
    ])
    expect(legend(months, plain)).toBe("D 2 done  P 1 in progress  S 1 stale  M 1 missing  F 1 failed")
  })

  it("shows few days as weeks, which begin on Monday", () => {
    const days = states({ "2026-11-19": "done", "2026-11-22": "stale", "2026-11-23": "done", "2026-11-25": "failed" })
    expect(partitionGrid(days, style)).toEqual([
      "            M T W T F S S",
      "2026-11-16        ● · · ▲",
      "2026-11-23  ● · ◆",
    ])
  })

  it("shows many days as months, each as long as it is", () => {
    const days: PartitionState[] = []
    for (let at = Date.UTC(2024, 1, 27); at <= Date.UTC(2024, 5, 2); at += 86_400_000)
      days.push({ key: new Date(at).toISOString().slice(0, 10), state: "done" })
    expect(partitionGrid(days, style)).toEqual([
      "         1   5    10   15   20   25   30",
      `2024-02  ${" ".repeat(26)}●●●`,
      `2024-03  ${"●".repeat(31)}`,
      `2024-04  ${"●".repeat(30)}`,
      `2024-05  ${"●".repeat(31)}`,
      "2024-06  ●●",
    ])
  })

  it("leaves out rows without partitions, and the oldest where there are too many", () => {
    expect(partitionGrid(states({ "0001-02": "done", "9999-11": "done" }), style)).toEqual([
      "      J F M A M J J A S O N D",
      "0001    ● · · · · · · · · · ·",
      "9999  · · · · · · · · · · ●",
    ])
    const years = Array.from({ length: 30 }, (_, i) => ({ key: `${1990 + i}-01`, state: "done" as const }))
    const lines = partitionGrid(years, style)
    expect(lines[0]).toBe("(6 earlier years not shown)")
    expect(lines).toHaveLength(26)
    expect(lines[2]).toMatch(/^1996 /)
  })

  it.each([[["2011-13"]], [["2011-02-30"]], [["2011-01", "2011-01-02"]], [["a.csv"]], [["all"]], [[]]])(
    "has no rows for %j",
    (keys) => {
      expect(shapeOf(keys)).toBeUndefined()
      expect(
        partitionGrid(
          keys.map((key) => ({ key, state: "done" })),
          style,
        ),
      ).toEqual([])
    },
  )

  it("shows every partition once, in its place", () => {
    const condition = fc.constantFrom<PartitionCondition>("done", "stale", "failed", "missing", "in-progress")
    const month = fc.tuple(fc.integer({ min: 2000, max: 2020 }), fc.integer({ min: 1, max: 12 }))
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(month, condition), { selector: ([m]) => m.join(), minLength: 1 }),
        (given) => {
          const lines = partitionGrid(
            given.map(([[year, m], state]) => ({ key: `${year}-${String(m).padStart(2, "0")}`, state })),
            plain,
          )
          const signs = lines
            .slice(1)
            .map((line) => line.slice(6).replace(/[ .]/g, ""))
            .join("")
          expect(signs).toHaveLength(given.length)
          for (const [[year, m], state] of given) {
            const row = lines.find((line) => line.startsWith(`${year} `)) ?? ""
            expect(row[6 + (m - 1) * 2]).toBe(state === "in-progress" ? "P" : state[0]?.toUpperCase())
          }
        },
      ),
    )
  })
})

describe("what is not done", () => {
  const wrong: PartitionState[] = [
    { key: "2011-02", state: "failed", why: "held: QUALITY_GATE: pass rate 0", hint: "mend it" },
    { key: "2011-03", state: "stale", why: "bronze.raw_transactions was touched by run_1 5 min ago" },
    { key: "2011-04", state: "missing" },
  ]

  it("is named with the reason, unless it is told elsewhere", () => {
    const stale = "▲ 2011-03 stale: bronze.raw_transactions was touched by run_1 5 min ago"
    expect(notDoneLines("p", wrong, style, new Set())).toEqual([
      "◆ 2011-02 failed: held: QUALITY_GATE: pass rate 0",
      "  hint: mend it",
      stale,
    ])
    expect(notDoneLines("p", wrong, style, new Set(["2011-02"]))).toEqual([stale])
  })

  it("says where to see all of it when it is much", () => {
    const many = Array.from({ length: 15 }, (_, i) => ({ key: `f${i}`, state: "stale" as const }))
    const lines = notDoneLines("orders", many, style, new Set())
    expect(lines).toHaveLength(11)
    expect(lines.at(-1)).toBe("5 more: spillway status --partitions orders")
  })

  it("is all named where there is no grid", () => {
    const files = [...states({ "a.csv": "done", "b.csv": "missing", "c.csv": "missing", "d.csv": "in-progress" })]
    expect(notDoneLines("p", files, style, new Set())).toEqual(["○ missing: b.csv, c.csv", "◐ in progress: d.csv"])
  })
})

it("the list has every partition with when, rows, why and what to do", () => {
  const listed = partitionList(
    [
      { key: "2011-01", state: "done", builtAt: new Date("2026-11-20T08:09:10.5Z"), rows: 31415 },
      { key: "2011-02", state: "failed", why: "held", hint: "mend it" },
      { key: "2011-03", state: "in-progress", builtAt: new Date("2026-11-20T08:09:10.5Z") },
    ],
    style,
  )
  expect(listed).toEqual([
    "  state        partition  built                   rows",
    "● done         2011-01    2026-11-20 08:09:10Z  31,415",
    "◆ failed       2011-02",
    "    held",
    "    hint: mend it",
    "◐ in progress  2011-03    2026-11-20 08:09:10Z",
  ])
})

it.each([
  [{ LANG: "C.UTF-8" }, true],
  [{ LANG: "en_GB.utf8" }, true],
  [{ LANG: "C" }, false],
  [{ LANG: "C.UTF-8", LC_ALL: "POSIX" }, false],
  [{ LANG: "C", LC_CTYPE: "en_US.UTF-8" }, true],
  [{ LANG: "de_DE.ISO-8859-1" }, false],
  [{ LC_ALL: "", LANG: "" }, true],
  [{}, true],
])("signs in %j: %s", (env, signs) => expect(showsUnicode(env)).toBe(signs))

it("signs have colours, which are not needed to tell them apart", () => {
  const coloured: GridStyle = { colors: colorsFor({ isTTY: true }, {}), unicode: true }
  const lines = partitionGrid(months, coloured)
  expect(lines.join("")).toContain("\u001b[")
  expect(lines.map((line) => line.replace(/\u001b\[[0-9;]*m/g, "").trimEnd())).toEqual(partitionGrid(months, style))
})
