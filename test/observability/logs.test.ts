import { describe, expect, it } from "vitest"
import { jsonLogs } from "../../src/observability/json-logs.ts"
import { logLine } from "../../src/observability/logs.ts"
import { event, finished, held, planned, published, staged, started } from "./events.ts"

describe("logLine", () => {
  it("carries the event's own time, step, ids and figures", () => {
    expect(logLine(published("a.csv", { read: 3, inserted: 2, deadLettered: 1 }, 1_500), "c1")).toEqual({
      time: Date.UTC(2026, 10, 21, 8, 0, 1, 500),
      level: "DEBUG",
      message: "a.csv: published: 3 read = 2 inserted + 1 dead-lettered",
      pipeline: "orders",
      runId: "run_1",
      step: "publish",
      correlationId: "c1",
      metadata: expect.objectContaining({ event: "partition.published", partition: "a.csv", attempt: 1 }) as unknown,
    })
  })

  it("keeps what happens hundreds of times at DEBUG, and what needs a person at ERROR", () => {
    const level = (e: Parameters<typeof logLine>[0]): string => logLine(e).level
    expect(level(staged("a", 1))).toBe("DEBUG")
    expect(level(published("a", { read: 1, inserted: 1 }))).toBe("DEBUG")
    expect(level(published("a", { read: 1, inserted: 1 }, 0, true))).toBe("INFO")
    expect(level(started())).toBe("INFO")
    expect(level(planned(3))).toBe("INFO")
    expect(level(held("a", "pass rate 0"))).toBe("ERROR")
    expect(level(finished("completed", {}))).toBe("INFO")
    expect(level(finished("partial", {}))).toBe("WARNING")
    expect(level(finished("cancelled", {}))).toBe("WARNING")
    expect(level(finished("failed", {}, { error: { code: "DB_UNAVAILABLE", message: "x", hint: undefined } }))).toBe(
      "ERROR",
    )
    expect(level(finished("failed", {}, { error: { code: "CONSERVATION", message: "x", hint: undefined } }))).toBe(
      "CRITICAL",
    )
  })

  it("contains the words that operators search for", () => {
    const retry = event({
      type: "retry",
      what: "staging",
      tries: 2,
      delayMs: 400,
      code: "DB_UNAVAILABLE",
      message: "reset by peer",
    })
    expect(logLine(retry)).toMatchObject({
      level: "WARNING",
      message: expect.stringMatching(/retry.*connection/) as unknown,
    })
    const end = finished(
      "failed",
      {},
      { error: { code: "RETRY_EXHAUSTED", message: "5 times no answer", hint: undefined } },
    )
    expect(logLine(end)).toMatchObject({ level: "ERROR", message: expect.stringMatching(/retry/) as unknown })
    const away = finished("failed", {}, { error: { code: "DB_UNAVAILABLE", message: "ECONNREFUSED", hint: undefined } })
    expect(logLine(away).message).toMatch(/connection/)
    const doubtful = event({ type: "commit.resolved", outcome: "committed", message: "asked again" })
    expect(logLine(doubtful).message).toMatch(/connection/)
  })

  it("does not say the searched-for word twice", () => {
    const away = finished(
      "failed",
      {},
      { error: { code: "DB_UNAVAILABLE", message: "the connection was lost", hint: undefined } },
    )
    expect(logLine(away).message.match(/connection/g)).toHaveLength(1)
  })

  it("shows no password, in the message or in the metadata", () => {
    const line = logLine(
      event({
        type: "warning",
        code: "NETWORK",
        partition: undefined,
        message: "postgres://u:hunter2@h/d",
        hint: undefined,
      }),
    )
    expect(JSON.stringify(line)).not.toContain("hunter2")
  })
})

describe("jsonLogs", () => {
  const written = async (least: "DEBUG" | "INFO"): Promise<Record<string, unknown>[]> => {
    const lines: string[] = []
    const write = await jsonLogs({ write: (text) => void lines.push(text) }, least)
    for (const one of [started(250), staged("a", 1), held("a", "no\ngood")]) write(logLine(one, "c1"))
    return lines.map((line) => {
      expect(line.endsWith("\n")).toBe(true)
      expect(line.trimEnd()).not.toContain("\n")
      return JSON.parse(line) as Record<string, unknown>
    })
  }

  it("writes the fields of the contract, with the event's time", async () => {
    expect((await written("INFO"))[0]).toEqual({
      level: "INFO",
      timestamp: "2026-11-21T08:00:00.250Z",
      ts: "2026-11-21T08:00:00.250Z",
      message: "run started",
      pipeline_name: "orders",
      run_id: "run_1",
      step: "run",
      correlation_id: "c1",
      metadata: { event: "run.started", attempt: 1, resumed: false, definitionVersion: "v", full: false },
    })
  })

  it("leaves out DEBUG unless asked for", async () => {
    expect((await written("INFO")).map((line) => line["level"])).toEqual(["INFO", "ERROR"])
    expect((await written("DEBUG")).map((line) => line["level"])).toEqual(["INFO", "DEBUG", "ERROR"])
  })
})
