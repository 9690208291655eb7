// node bench/retry-overhead.ts [--calls 200000 --rounds 15]
// What a policy costs when nothing goes wrong: a call that resolves at once, with and without it, in turn in one run; medians of the rounds.
import { parseArgs } from "node:util"
import { compose, retry, timeout, type Policy } from "../src/resilience/index.ts"
import { median } from "./server.ts"

const { values } = parseArgs({
  options: { calls: { type: "string", default: "200000" }, rounds: { type: "string", default: "15" } },
})
const calls = Number(values.calls)
const rounds = Number(values.rounds)

const policies: Readonly<Record<string, Policy>> = {
  "retry(), all defaults": retry(),
  "retry({ deadline: Infinity })": retry({ deadline: Infinity }),
  'compose(timeout("1 minute"), retry(), timeout("5s"))': compose(timeout("1 minute"), retry(), timeout("5s")),
}

const body = (): Promise<number> => Promise.resolve(1)

async function bare(): Promise<number> {
  const begun = performance.now()
  for (let n = 0; n < calls; n++) await body()
  return performance.now() - begun
}

async function through(policy: Policy): Promise<number> {
  const begun = performance.now()
  for (let n = 0; n < calls; n++) await policy.execute(body)
  return performance.now() - begun
}

const microseconds = (ms: number): number => (ms * 1_000) / calls

for (const [name, policy] of Object.entries(policies)) {
  await through(policy)
  const more: number[] = []
  for (let round = 0; round < rounds; round++) {
    const without = await bare()
    more.push(microseconds((await through(policy)) - without))
  }
  console.log(
    `${name}: ${median(more).toFixed(2)} µs more per call (${Math.min(...more).toFixed(2)}–${Math.max(...more).toFixed(2)})`,
  )
}
