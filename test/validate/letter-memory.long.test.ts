import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import { orderLines } from "../../bench/orders.ts"
import { runProcess } from "../../bench/processes.ts"

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

function* lines(rows: number, badShare: number): Generator<string, void, void> {
  for (const { all } of orderLines(rows, { badShare })) yield all
}

/** Peak memory of the command over so many rows through a pipe, in bytes. */
async function peakOf(rows: number, badShare: number): Promise<number> {
  const named = ["--in-file", "-", "--format", "csv", "--schema", `${at("bench/orders.ts")}#Order`, "--report", "json"]
  const outputs = ["--good-out", "/dev/null", "--dead-letter", "/dev/null"]
  const feed = lines(rows, badShare)
  const run = await runProcess(at("bin/spillway.js"), ["validate", ...named, ...outputs], { exits: [1], feed })
  expect(JSON.parse(run.stdout)).toMatchObject({ read: rows })
  return run.peakBytes ?? Number.NaN
}

test.each([0.2, 1])("letters of a thread take as much memory of many rows as of few: %d bad", async (badShare) => {
  const few = await peakOf(400_000, badShare)
  const many = await peakOf(2_000_000, badShare)
  expect(many).toBeLessThan(few * 1.1)
  expect(many).toBeLessThan(200 * 2 ** 20)
})
