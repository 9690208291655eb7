import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { checkpointKey } from "../../src/ledger/checkpoints.ts"
import { storableJson, storablePrefix } from "../../src/ledger/storable.ts"
import { RunCheckpoints } from "../../src/observability/checkpoints.ts"
import { event, finished, held, partitionStarted, published, START, started } from "./events.ts"

const rows = (...events: Parameters<RunCheckpoints["on"]>[0][]) => {
  const checkpoints = new RunCheckpoints()
  for (const one of events) checkpoints.on(one)
  return new Map(checkpoints.take(1_000).map((row) => [`${row.stage}/${row.key}`, row]))
}

describe("RunCheckpoints", () => {
  it("has a row for the run, each stage and each partition, with times, durations and counts", () => {
    const found = rows(
      started(),
      partitionStarted("a", 10),
      event({ type: "partition.staged", partition: "a", read: 3, durationMs: 40 }, 50),
      event(
        { type: "check.judged", partition: "a", check: "c", severity: "fail", passed: true, observed: 1, message: "" },
        55,
      ),
      event({ type: "group.published", partitions: 1, rows: 2, durationMs: 20, steps: { gate: 4 } }, 80),
      published("a", { read: 3, inserted: 2, deadLettered: 1 }, 80),
      finished("completed", { read: 3, inserted: 2, deadLettered: 1 }, { durationMs: 100 }),
    )
    expect([...found.keys()].sort()).toEqual(["gate/", "partition/a", "publish/", "run/", "stage/"])
    expect(found.get("run/")).toMatchObject({
      status: "completed",
      startTime: START,
      endTime: START + 100,
      durationMs: 100,
      value: "completed",
    })
    expect(found.get("stage/")).toMatchObject({
      status: "completed",
      durationMs: 40,
      metadata: { partitions: 1, read: 3 },
    })
    expect(found.get("gate/")).toMatchObject({ status: "completed", durationMs: 4, metadata: { checks: 1, failed: 0 } })
    expect(found.get("publish/")).toMatchObject({
      status: "completed",
      startTime: START + 60,
      endTime: START + 80,
      durationMs: 20,
      metadata: { rows: 2 },
    })
    expect(found.get("partition/a")).toMatchObject({
      status: "completed",
      startTime: START + 10,
      endTime: START + 80,
      durationMs: 70,
      value: "3 read = 2 inserted + 1 dead-lettered",
      metadata: { reason: "new", counts: { inserted: 2 } },
    })
  })

  it("calls a held partition failed, and the run that goes on around it completed", () => {
    const found = rows(started(), partitionStarted("a"), held("a", "pass rate 0"), finished("partial", {}))
    expect(found.get("partition/a")).toMatchObject({ status: "failed", value: "held: QUALITY_GATE" })
    expect(found.get("run/")).toMatchObject({ status: "completed", value: "partial" })
  })

  it("leaves nothing in progress when a run ends early", () => {
    const cancelled = rows(started(), partitionStarted("a", 10), finished("cancelled", {}, { durationMs: 30 }))
    expect(cancelled.get("partition/a")).toMatchObject({ status: "pending", durationMs: 20 })
    expect(cancelled.get("run/")).toMatchObject({ status: "pending" })
    const error = { code: "RESOURCE" as const, message: "disk full", hint: undefined }
    const failed = rows(started(), partitionStarted("a"), finished("failed", {}, { error }))
    expect(failed.get("partition/a")).toMatchObject({ status: "failed" })
    expect(failed.get("run/")).toMatchObject({ status: "failed", metadata: { code: "RESOURCE" } })
  })

  it("gives each row once, newest state, also after a write that failed", () => {
    const checkpoints = new RunCheckpoints()
    checkpoints.on(started())
    checkpoints.on(partitionStarted("a"))
    const taken = checkpoints.take(10)
    expect(checkpoints.waiting).toBe(0)
    checkpoints.on(published("a", { read: 1, inserted: 1 }))
    checkpoints.putBack(taken)
    const again = checkpoints.take(10)
    expect(again.map((row) => row.stage).sort()).toEqual(["partition", "run", "stage"])
    expect(again.find((row) => row.stage === "partition")?.status).toBe("completed")
    expect(taken.find((row) => row.stage === "partition")?.status).toBe("in_progress")
  })
})

describe("what goes into columns", () => {
  it("keeps long keys apart within 255 characters", () => {
    const long = "x".repeat(300)
    expect(checkpointKey("a/b.csv")).toBe("a/b.csv")
    expect(checkpointKey(long)).toHaveLength(255)
    expect(checkpointKey(`${long}1`)).not.toBe(checkpointKey(`${long}2`))
  })

  it("never holds a NUL or half a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), fc.nat(40), (text, limit) => {
        const prefix = storablePrefix(`${text}\0\ud800`, limit)
        expect(prefix.isWellFormed()).toBe(true)
        expect(prefix).not.toContain("\0")
        expect(prefix.length).toBeLessThanOrEqual(limit)
      }),
    )
    expect(JSON.parse(storableJson({ "a\0": ["\0", "\\u0000", 1n], d: new Date(0), u: undefined }))).toEqual({
      "a␀": ["␀", "\\u0000", "1"],
      d: "1970-01-01T00:00:00.000Z",
    })
  })
})
