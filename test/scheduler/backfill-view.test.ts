import { describe, expect, it } from "vitest"
import { backfillSummary, Estimate, progressText } from "../../src/cli/backfill-view.ts"
import { colorsFor } from "../../src/cli/colors.ts"
import { exitCodeOfBackfill } from "../../src/cli/commands/backfill.ts"
import { concurrencyFrom } from "../../src/cli/worker-size.ts"
import type { BackfillReport } from "../../src/scheduler/backfill.ts"
import { envelope, spillwayHere } from "../cli/command-line.ts"

const plain = colorsFor({}, { NO_COLOR: "1" })

const progress = (more: Partial<BackfillReport> = {}): BackfillReport => ({
  id: "backfill_1",
  pipeline: "orders",
  total: 120,
  queued: 0,
  active: 0,
  done: 119,
  failed: 1,
  skipped: 5,
  retrying: 0,
  failures: [],
  continued: false,
  durationMs: 61_000,
  ...more,
})

describe("the progress of a backfill", () => {
  it("is one line", () => {
    const now = progress({ done: 44, failed: 1, queued: 71, active: 4, retrying: 2 })
    expect(progressText("orders", now, 35_000)).toBe(
      "orders  45/120 partitions  4 in hand  2 retrying  1 failed  about 35.0 s left",
    )
  })

  it("has an estimate by what ended since it was first looked at", () => {
    const estimate = new Estimate()
    const at = (done: number, ms: number): number | undefined =>
      estimate.left(progress({ done, failed: 0, queued: 120 - done }), ms)
    expect(at(50, 1_000)).toBe(undefined)
    expect(at(52, 5_000)).toBe(undefined)
    // 10 in 20 s, 60 to go.
    expect(at(60, 21_000)).toBe(120_000)
  })
})

describe("the end of a backfill", () => {
  it("is told with every failure and what to do", () => {
    const error = { code: "NETWORK", message: "the share did not answer", hint: "mount it" }
    const failure = { key: "2011-03", reason: "missing", status: "failed" as const, attempts: 4, runId: "run_1", error }
    expect(backfillSummary(progress({ failures: [failure] }), plain)).toBe(
      [
        "✗ orders  119 done, 1 failed, 5 skipped of 125 partitions in 1 min 01 s  backfill_1",
        "  2011-03  NETWORK after 4 attempts: the share did not answer",
        "    hint: mount it",
      ].join("\n"),
    )
  })

  it.each([
    [{ done: 4, failed: 0 }, false, 0],
    [{ done: 0, failed: 0 }, false, 0],
    [{ done: 3, failed: 1 }, false, 6],
    [{ done: 0, failed: 4 }, false, 1],
    [{ done: 3, failed: 0, queued: 1 }, true, 130],
    [{ done: 3, failed: 1, active: 1 }, true, 130],
    [{ done: 4, failed: 0 }, true, 0],
  ])("%j, interrupted %j: exit code %i", (counts, interrupted, code) => {
    expect(exitCodeOfBackfill(progress(counts), interrupted)).toBe(code)
  })
})

describe("the size of a worker", () => {
  const warnings: string[] = []
  const host = { output: { warn: (text: string) => void warnings.push(text) } } as Parameters<typeof concurrencyFrom>[0]
  const size = (flags: Parameters<typeof concurrencyFrom>[2]): Promise<number> =>
    concurrencyFrom(host, { connectionsPerRun: 4 }, flags)

  it("is what was asked for, within the connections", async () => {
    expect(await size({})).toBe(2)
    expect(await size({ concurrency: "7" })).toBe(7)
    expect(await size({ maxConnections: "11" })).toBe(1)
    expect(await size({ maxConnections: "12" })).toBe(2)
    expect(await size({ maxConnections: "100" })).toBe(2)
    expect(warnings).toEqual([])
    expect(await size({ concurrency: "7", maxConnections: "20" })).toBe(4)
    expect(warnings).toEqual(["--max-connections 20 has room for 4 at a time, so that --concurrency is 4"])
  })

  it("is refused when it is none", async () => {
    await expect(size({ maxConnections: "7" })).rejects.toMatchObject({ code: "CONFIG", hint: "give at least 8" })
    for (const concurrency of ["0", "-1", "two", "1.5", "1001"])
      await expect(size({ concurrency })).rejects.toMatchObject({ code: "CONFIG" })
  })
})

it("the command refuses a range that is none before it looks at anything", async () => {
  const answer = await spillwayHere(["backfill", "orders", "--start", "2011-13", "--json"])
  expect(answer.code).toBe(2)
  expect(envelope(answer).error).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("--start 2011-13") as string,
  })
  const both = await spillwayHere(["backfill", "orders", "--resume", "--start", "2011", "--json"])
  expect(envelope(both).error?.message).toContain("--resume")
})
