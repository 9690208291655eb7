import { expect, it } from "vitest"
import { notFound } from "../../src/cli/errors.ts"
import { exitCodeOf, exitCodeOfRun, worst } from "../../src/cli/exit-codes.ts"
import { errorCatalog, errorCodes } from "../../src/core/error-catalog.ts"
import { SpillwayError, type ErrorCode } from "../../src/core/errors.ts"

/** Written out, so that a new code makes this fail until somebody decides. */
const EXPECTED: Record<ErrorCode, number> = {
  VALIDATION: 1,
  DECODE: 1,
  TRANSFORM: 1,
  QUALITY_GATE: 1,
  LATE: 1,
  DUPLICATE: 1,
  SCHEMA_DRIFT: 1,
  HTTP_4XX: 1,
  HTTP_429: 5,
  HTTP_5XX: 5,
  TIMEOUT: 5,
  NETWORK: 5,
  DNS: 5,
  TLS: 5,
  AUTH: 2,
  CIRCUIT_OPEN: 5,
  RETRY_EXHAUSTED: 5,
  RETRY_BUDGET: 5,
  DB_CONSTRAINT: 1,
  DB_UNAVAILABLE: 5,
  DB_SERIALIZATION: 1,
  LEASE_HELD: 5,
  LEASE_LOST: 5,
  CONSERVATION: 1,
  CHECKPOINT: 1,
  DATA_LOSS: 1,
  CONFIG: 2,
  RESOURCE: 5,
  CANCELLED: 130,
  REVIEW_REJECTED: 1,
  UNKNOWN: 1,
}

it("every code has its exit code, and its page in the catalog", () => {
  expect([...errorCodes].sort()).toEqual(Object.keys(EXPECTED).sort())
  for (const [code, exit] of Object.entries(EXPECTED) as [ErrorCode, number][]) {
    expect([code, exitCodeOf(new SpillwayError(code, "x"))]).toEqual([code, exit])
    for (const text of Object.values(errorCatalog[code])) expect(text).toMatch(/^\S.{10,}/)
    const { meaning, engine, action } = errorCatalog[code]
    for (const text of [meaning, engine, action]) expect(text).toMatch(/[.]$/)
  }
})

it("not found is 4", () => expect(exitCodeOf(notFound("x"))).toBe(4))

it("a run's exit code follows its status", () => {
  const error = { code: "DB_UNAVAILABLE" as const }
  expect(exitCodeOfRun({ status: "completed", error: undefined })).toBe(0)
  expect(exitCodeOfRun({ status: "partial", error: undefined })).toBe(6)
  expect(exitCodeOfRun({ status: "cancelled", error: { code: "CANCELLED" } })).toBe(130)
  expect(exitCodeOfRun({ status: "failed", error })).toBe(5)
  expect(exitCodeOfRun({ status: "failed", error: undefined })).toBe(1)
})

it("of several, the worst counts", () => {
  expect(worst([])).toBe(0)
  expect(worst([0, 6, 0])).toBe(6)
  expect(worst([6, 1, 0])).toBe(1)
  expect(worst([1, 5, 6])).toBe(5)
  expect(worst([5, 130, 2])).toBe(130)
})
