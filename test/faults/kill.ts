// npm run test:kill -- N [--seed S] [--only K] [--scenario "first run"]
//
// Kills a run at every failpoint and at N random moments, lets an ordinary run follow, and compares.
import { AT_RANDOM, combinations, momentsOf, PHASES, SCENARIOS, type Moment, type Scenario } from "./kill-moments.ts"
import { BATCH_RECORDS } from "./kill-pipelines.ts"
import { Bench, type Outcome } from "./kill-trial.ts"
import { killTest, trialArguments } from "./trials.ts"

function scenariosOf(name: string): readonly Scenario[] {
  if (name === "") return SCENARIOS
  const found = SCENARIOS.filter((scenario) => scenario === name)
  if (found.length === 0) throw new Error(`there is no scenario "${name}", only ${SCENARIOS.join(", ")}`)
  return found
}

interface Done {
  readonly trial: Moment
  readonly outcome: Outcome
}

function histogram(done: readonly Done[]): string {
  const lines = PHASES.map((phase) => {
    const here = done.filter(({ outcome }) => outcome.phase === phase)
    const random = here.filter(({ trial }) => trial.kind === AT_RANDOM)
    const server = here.filter(({ trial }) => trial.server !== "lives").length
    const counts = SCENARIOS.map((scenario) => here.filter(({ trial }) => trial.scenario === scenario).length)
    return [
      phase,
      random.length,
      here.length - random.length,
      ...counts,
      server,
      "█".repeat(Math.ceil(random.length / 4)),
    ]
  })
  const head = ["killed in", "at random", "at failpoints", ...SCENARIOS, "server too", ""]
  return [head, ...lines]
    .map((cells) =>
      cells
        .map((cell, i) => (i === 0 ? String(cell).padEnd(14) : String(cell).padStart(head[i]?.length ?? 0)))
        .join("  "),
    )
    .join("\n")
}

/** What was read again where only the client was killed: batches taken from the source, though they were taken before. */
function again(done: readonly Done[]): string {
  const counted = done.flatMap(({ outcome }) => (outcome.again === undefined ? [] : [outcome.again]))
  const resumed = done.filter(({ outcome }) => outcome.again !== undefined && outcome.resumed).length
  const most = (numbers: readonly number[]): number => Math.max(0, ...numbers)
  const batches = counted.map(({ read }) => Math.ceil(read / BATCH_RECORDS))
  const spread = Array.from({ length: most(batches) + 1 }, (_, n) => `${n}: ${batches.filter((b) => b === n).length}`)
  return [
    `only the client was killed: ${counted.length} times, ${resumed} runs were resumed`,
    `  records staged again: at most ${most(counted.map(({ staged }) => staged))} (a batch has up to ${BATCH_RECORDS})`,
    `  records read again, though not yet staged: at most ${most(counted.map(({ read }) => read))}; kills by batches ${spread.join(", ")}`,
  ].join("\n")
}

const args = trialArguments(20, { scenario: "" })
const all = combinations(scenariosOf(args.further.scenario))
await killTest(args, async (server, trials) => {
  const bench = await Bench.prepare(server, args.seed, all)
  try {
    const moments = momentsOf(args, all, (combination) => bench.trailOf(combination))
    const steps = all.map((one) => bench.trailOf(one).filter((line) => /^[EFQ] /.test(line)).length)
    console.log(`seed ${args.seed}: ${moments.length} kills, of runs of ${steps.join(", ")} steps`)
    const done = await trials.play(moments, (moment) => bench.run(moment))
    console.log(`${histogram(done)}\n${again(done)}`)
  } finally {
    bench.dispose()
  }
})
