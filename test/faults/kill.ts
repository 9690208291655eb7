// npm run test:kill -- N [--seed S] [--only K] [--scenario "first run"]
//
// Kills a run at every failpoint and at N random moments, lets an ordinary run follow, and compares.
import { parseArgs } from "node:util"
import {
  combinations,
  failpointMoments,
  momentOf,
  PHASES,
  SCENARIOS,
  type Moment,
  type Scenario,
} from "./kill-moments.ts"
import { BATCH_RECORDS } from "./kill-pipelines.ts"
import { KillServer } from "./kill-server.ts"
import { Trials, type Outcome } from "./kill-trial.ts"

interface Options {
  readonly random: number
  readonly seed: number
  readonly only: number | undefined
  readonly scenarios: readonly Scenario[]
}

function options(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seed: { type: "string" }, only: { type: "string" }, scenario: { type: "string", multiple: true } },
  })
  const whole = (name: string, text: string): number => {
    if (!/^\d+$/.test(text)) throw new Error(`${name} is not a whole number: ${text}`)
    return Number(text)
  }
  const scenarios = values.scenario ?? [...SCENARIOS]
  const unknown = scenarios.find((name) => !SCENARIOS.includes(name as Scenario))
  if (unknown !== undefined) throw new Error(`there is no scenario "${unknown}", only ${SCENARIOS.join(", ")}`)
  return {
    random: whole("N", positionals[0] ?? "20"),
    seed: values.seed === undefined ? Math.floor(Math.random() * 1e6) : whole("--seed", values.seed),
    only: values.only === undefined ? undefined : whole("--only", values.only),
    scenarios: scenarios as Scenario[],
  }
}

const describe = ({ mode, scenario, killAt, standStill, delayMs, server }: Moment): string =>
  [
    `${scenario}, ${mode}`,
    "step" in killAt ? `step ${killAt.step}` : `${killAt.failpoint} (${killAt.nth})`,
    standStill ? "standing still" : `${delayMs.toFixed(1)} ms later`,
    `server ${server}`,
  ].join(", ")

interface Done {
  readonly moment: Moment
  readonly outcome: Outcome
}

function histogram(done: readonly Done[], atRandom: (moment: Moment) => boolean): string {
  const lines = PHASES.map((phase) => {
    const here = done.filter(({ outcome }) => outcome.phase === phase)
    const random = here.filter(({ moment }) => atRandom(moment))
    const server = here.filter(({ moment }) => moment.server !== "lives").length
    const counts = SCENARIOS.map((scenario) => here.filter(({ moment }) => moment.scenario === scenario).length)
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

async function main(): Promise<boolean> {
  const { random, seed, only, scenarios } = options()
  const all = combinations(scenarios)
  const planned = failpointMoments(all)
  const numbers = only === undefined ? Array.from({ length: planned + random }, (_, i) => i + 1) : [only]
  console.log(
    `seed ${seed}: ${numbers.length} kills (${only === undefined ? `${planned} at failpoints, ${random} at random` : `number ${only}`})`,
  )
  const started = performance.now()
  const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(1)} s`
  const server = await KillServer.start()
  const done: Done[] = []
  let trials: Trials | undefined
  try {
    trials = await Trials.prepare(server, seed, all)
    console.log(
      `prepared in ${seconds()}; an undisturbed run takes ${all.map((one) => trials?.trailOf(one).filter((line) => /^[EFQ] /.test(line)).length).join(", ")} steps`,
    )
    for (const number of numbers) {
      const moment = momentOf(seed, number, all, (combination) => (trials as Trials).trailOf(combination))
      const outcome = await trials.run(moment).catch((error: unknown) => {
        console.log(`BROKEN  --seed ${seed} --only ${number}: ${describe(moment)}`)
        throw error
      })
      done.push({ moment, outcome })
      if (outcome.faults.length > 0)
        console.log(
          `FAILED  --seed ${seed} --only ${number}: ${describe(moment)}; killed in ${outcome.phase} after "${outcome.last}"\n  ${outcome.faults.join("\n  ")}`,
        )
      else if (only !== undefined)
        console.log(`${describe(moment)}; killed in ${outcome.phase} after "${outcome.last}"`)
      if (done.length % 50 === 0) console.log(`${done.length} of ${numbers.length} after ${seconds()}`)
    }
  } finally {
    trials?.dispose()
    await server.remove()
  }
  const failed = done.filter(({ outcome }) => outcome.faults.length > 0).length
  console.log(`${histogram(done, (moment) => moment.number > planned)}\n${again(done)}\n${seconds()} in all`)
  console.log(`${done.length - failed} passed, ${failed} failed`)
  return failed === 0
}

process.exitCode = (await main()) ? 0 : 1
