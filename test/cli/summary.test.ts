import { describe, expect, it } from "vitest"
import { colorsFor } from "../../src/cli/colors.ts"
import { summary } from "../../src/cli/summary.ts"
import type { RunReport } from "../../src/engine/report.ts"
import { counts } from "../observability/events.ts"

const plain = { colors: colorsFor({}, {}), width: 100, partition: "file" }

const report = (some: Partial<RunReport> = {}): RunReport => ({
  pipeline: "retail",
  table: "bronze.raw",
  runId: "run_1",
  attempt: 1,
  status: "completed",
  counts: counts({ read: 541_909, inserted: 541_907, deadLettered: 2 }),
  partitions: { total: 305, chosen: 305, reasons: { new: 305 }, published: 305, held: 0, unchanged: 0 },
  held: [],
  deadLetters: { VALIDATION: 2 },
  nulls: { Country: 0, Description: 1_454, CustomerID: 135_080 },
  steps: {},
  warnings: [],
  durationMs: 3_100,
  error: undefined,
  ...some,
})

describe("summary", () => {
  it("tells what a load did", () => {
    expect(summary(report(), plain).split("\n")).toEqual([
      "● completed  retail → bronze.raw  3.1 s, 174,809 rows/s",
      "  541,909 read = 541,907 inserted + 2 dead-lettered",
      "  305 files: 305 published",
      "  dead letters  2 VALIDATION",
      "  nulls         CustomerID 24.93 % (135,080), Description 0.27 % (1,454)",
      "  next: see the dead letters: spillway dlq export --pipeline retail",
    ])
  })

  it("says plainly that there was nothing to do", () => {
    const again = report({
      counts: counts({}),
      partitions: { total: 305, chosen: 0, reasons: {}, published: 0, held: 0, unchanged: 305 },
      deadLetters: {},
      nulls: {},
      durationMs: 420,
    })
    expect(summary(again, plain)).toBe("● completed  retail → bronze.raw  420 ms\n  nothing new: 0 of 305 files to do")
  })

  it("names what is held, why, and what to do", () => {
    const partial = report({
      status: "partial",
      partitions: {
        total: 305,
        chosen: 3,
        reasons: { changed: 1, "held-before": 1, new: 1 },
        published: 2,
        held: 1,
        unchanged: 302,
      },
      held: [
        {
          partition: "2010-12-05.csv.gz",
          code: "QUALITY_GATE",
          message: "pass rate 0",
          hint: "correct it",
          read: 1776,
          deadLettered: 1776,
        },
      ],
    })
    const text = summary(partial, plain)
    expect(text).toContain("▲ partial  retail")
    expect(text).toContain("305 files: 2 published, 1 held, 302 unchanged (1 changed, 1 held before)")
    expect(text).toContain(
      "▲ held 2010-12-05.csv.gz (1,776 read, 1,776 dead-lettered): QUALITY_GATE: pass rate 0\n    hint: correct it",
    )
    expect(text).toContain("next: mend the held file and run again; what the code means: spillway explain QUALITY_GATE")
  })

  it("does not drown in what is held or warned of", () => {
    const held = Array.from({ length: 25 }, (_, i) => ({
      partition: `p${i}`,
      code: "DECODE" as const,
      message: "m",
      hint: undefined,
      read: 1,
      deadLettered: 1,
    }))
    const warnings = Array.from({ length: 12 }, (_, i) => ({ code: "SCHEMA_DRIFT" as const, message: `w${i}` }))
    const text = summary(report({ status: "partial", held, warnings }), plain)
    expect(text.match(/▲ held/g)).toHaveLength(10)
    expect(text).toContain("… and 15 files more held: spillway status")
    expect(text).toContain("… and 2 warnings more: spillway logs --run-id run_1")
  })

  it("tells how a run failed or was stopped, and what is left", () => {
    const partitions = { total: 10, chosen: 10, reasons: { new: 10 }, published: 4, held: 0, unchanged: 0 }
    const failed = summary(
      report({
        status: "failed",
        partitions,
        error: { code: "RESOURCE", message: "disk full at postgres://u:hunter2@h/d", hint: "make room" },
      }),
      plain,
    )
    expect(failed).toContain("◆ failed")
    expect(failed).toContain("10 files: 4 published, 6 not done")
    expect(failed).toContain("RESOURCE: disk full")
    expect(failed).toContain("next: make room")
    expect(failed).not.toContain("hunter2")
    const stopped = summary(report({ status: "cancelled", partitions, attempt: 2 }), plain)
    expect(stopped).toContain("▲ stopped")
    expect(stopped).toContain("attempt 2")
    expect(stopped).not.toContain("rows/s")
    expect(stopped).toContain("next: run the same command again: it goes on after the last batch")
  })
})
