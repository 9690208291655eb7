// Where in a run the kill test strikes.
import { seededRandom, type Random } from "../../src/core/random.ts"
import { FAILPOINTS } from "../../src/testing/index.ts"
import type { Mode } from "./kill-data.ts"
import type { KillAt } from "./stepping.ts"
import type { Trial } from "./trials.ts"

export const PHASES = ["staging", "publish", "after commit", "other"] as const
export type Phase = (typeof PHASES)[number]

export const SCENARIOS = ["first run", "re-run", "changed file"] as const
export type Scenario = (typeof SCENARIOS)[number]

export interface Combination {
  readonly mode: Mode
  readonly scenario: Scenario
}

export const combinations = (scenarios: readonly Scenario[]): Combination[] =>
  scenarios.flatMap((scenario) => (["upsert", "append"] as const).map((mode) => ({ mode, scenario })))

/** The first words of a trail's lines that tell what a run is at. */
const MARKS: Readonly<Record<Exclude<Phase, "other">, readonly string[]>> = {
  staging: [
    "E partition.started",
    "F staging.created",
    "E batch.staged",
    "F batch.staged",
    "E partition.staged",
    "F partition.staged",
  ],
  publish: ["E check.judged", "F gate.judged", "F publish.begun", "F publish.rows-written", "F publish.before-commit"],
  "after commit": [
    "E partition.published",
    "E group.published",
    "F publish.committed",
    "F run.before-finish",
    "E run.finished",
    "END",
  ],
}

const PHASE_OF = new Map(
  (["staging", "publish", "after commit"] as const).flatMap((phase) =>
    MARKS[phase].map((mark) => [mark, phase] as const),
  ),
)

const markOf = (line: string): string => (line.startsWith("END") ? "END" : line.split(" ", 2).join(" "))

/** The phase a run is in after what its trail says last. */
export function phaseAfter(trail: readonly string[]): Phase {
  for (const line of trail.toReversed()) {
    const phase = PHASE_OF.get(markOf(line))
    if (phase !== undefined) return phase
  }
  return "other"
}

/** The steps of a run (from 1) by the phase it is in at each. */
export function stepsByPhase(trail: readonly string[]): Map<Phase, number[]> {
  const found = new Map<Phase, number[]>(PHASES.map((phase) => [phase, []]))
  let phase: Phase = "other"
  let step = 0
  for (const line of trail) {
    phase = PHASE_OF.get(markOf(line)) ?? phase
    if (/^[EFQ] /.test(line)) found.get(phase)?.push(++step)
  }
  return found
}

/** One kill. All of it follows from the seed and the number. */
export interface Moment extends Combination, Trial {
  readonly killAt: KillAt
  readonly standStill: boolean
  /** Between the child's call and the kill, when it does not stand still. */
  readonly delayMs: number
  readonly server: "lives" | "killed after the client" | "killed before the client"
  /** Of a full re-run: continued as such, or followed by an ordinary run. */
  readonly continueFull: boolean
}

const DELAY_MS = 6
const ONE_IN = 5

/** All kills: first every failpoint in every combination, then `count` at random. `trailOf` gives an undisturbed run. */
export function momentsOf(
  { seed, count }: { readonly seed: number; readonly count: number },
  all: readonly Combination[],
  trailOf: (of: Combination) => readonly string[],
): Moment[] {
  const planned = FAILPOINTS.length * all.length
  return Array.from({ length: planned + count }, (_, i) => {
    const random = seededRandom(seed * 100_003 + i + 1)
    const n = i < planned ? i : i - planned
    const combination = all[n % all.length] as Combination
    const trail = trailOf(combination)
    const turn = Math.floor(n / all.length)
    const killAt =
      i < planned ? hitOf(FAILPOINTS[turn] as string, trail, random) : { step: stepOf(turn, trail, random) }
    const moment = {
      ...combination,
      killAt,
      standStill: random.next() < 0.5,
      delayMs: random.next() * DELAY_MS,
      server:
        (i + 1) % ONE_IN !== 0 ? "lives" : random.next() < 0.5 ? "killed after the client" : "killed before the client",
      continueFull: random.next() < 0.5,
    } as const
    return { ...moment, kind: i < planned ? AT_FAILPOINT : AT_RANDOM, about: aboutOf(moment) }
  })
}

export const AT_FAILPOINT = "at a failpoint"
export const AT_RANDOM = "at random"

const aboutOf = ({ mode, scenario, killAt, standStill, delayMs, server }: Omit<Moment, keyof Trial>): string =>
  [
    `${scenario}, ${mode}`,
    placeOf(killAt),
    standStill ? "standing still" : `${delayMs.toFixed(1)} ms later`,
    `server ${server}`,
  ].join(", ")

/** In words. */
export const placeOf = (killAt: KillAt): string =>
  "step" in killAt ? `step ${killAt.step}` : `${killAt.failpoint} (${killAt.nth})`

/** A time by chance of those at which an undisturbed run comes to that failpoint. */
function hitOf(name: string, trail: readonly string[], random: Random): KillAt {
  const hits = trail.filter((line) => line === `F ${name}`).length
  if (hits === 0) throw new Error(`an undisturbed run never comes to the failpoint ${name}`)
  return { failpoint: name, nth: 1 + Math.floor(random.next() * hits) }
}

/** Each phase gets a quarter of the kills; the last quarter falls anywhere. */
function stepOf(turn: number, trail: readonly string[], random: Random): number {
  const steps = stepsByPhase(trail)
  const chosen = (["staging", "publish", "after commit"] as const)[turn % 4]
  const among = chosen === undefined ? [...steps.values()].flat() : (steps.get(chosen) ?? [])
  const step = among[Math.floor(random.next() * among.length)]
  if (step === undefined) throw new Error(`an undisturbed run has no step in ${chosen}`)
  return step
}

/** A kill of one of several undisturbed runs, by their names. */
export interface NamedKill<Name extends string> {
  readonly kind: string
  readonly run: Name
  readonly killAt: KillAt
}

/** Each of these failpoints once in each run, then `count` anywhere, in turn. */
export function killsOf<Name extends string>(
  trails: Readonly<Record<Name, readonly string[]>>,
  failpoints: readonly string[],
  { count, random }: { readonly count: number; readonly random: Random },
): NamedKill<Name>[] {
  const runs = Object.keys(trails) as Name[]
  const planned = failpoints.flatMap((name) =>
    runs.map((run) => ({ kind: name, run, killAt: hitOf(name, trails[run], random) })),
  )
  const anywhere = Array.from({ length: count }, (_, n) => {
    const run = runs[n % runs.length] as Name
    return { kind: AT_RANDOM, run, killAt: { step: 1 + Math.floor(random.next() * trails[run].length) } }
  })
  return [...planned, ...anywhere]
}
