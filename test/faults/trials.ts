// What the kill tests have in common: their arguments, a server of their own, their trials, and what they say of them.
import { parseArgs } from "node:util"
import { KillServer } from "./kill-server.ts"

export interface TrialArguments<Name extends string = never> {
  /** How many trials fall at random. */
  readonly count: number
  readonly seed: number
  /** The number, from 1, of the one trial to play. Undefined: all of them. */
  readonly only: number | undefined
  readonly further: Readonly<Record<Name, string>>
}

/** One kill. */
export interface Trial {
  /** What it is counted under. */
  readonly kind: string
  readonly about: string
}

export interface Outcome {
  /** What the killed process told last. */
  readonly last?: string
  readonly faults: readonly string[]
}

const SEEDS = 1_000_000

/** Of `[N] [--seed S] [--only K]`; `usual` is N when none is given. `further` names more options and what they are when they are not given. */
export function trialArguments<Name extends string = never>(
  usual: number,
  further: Readonly<Record<Name, string>>,
): TrialArguments<Name> {
  const text = { type: "string" } as const
  const names = Object.keys(further) as Name[]
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seed: text, only: text, ...Object.fromEntries(names.map((name) => [name, text])) },
  })
  const given = values as Readonly<Record<string, string | undefined>>
  return {
    count: wholeNumber("N", positionals[0] ?? String(usual)),
    seed: wholeNumber("--seed", given["seed"] ?? String(Math.floor(Math.random() * SEEDS))),
    only: given["only"] === undefined ? undefined : wholeNumber("--only", given["only"]),
    further: Object.fromEntries(names.map((name) => [name, given[name] ?? further[name]])) as Record<Name, string>,
  }
}

export function wholeNumber(name: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`${name} is not a whole number: ${text}`)
  return Number(text)
}

/** A kill test from its start to its exit code. What `body` throws is a failure too. */
export async function killTest(
  args: TrialArguments,
  body: (server: KillServer, trials: Trials) => Promise<void>,
): Promise<void> {
  const server = await KillServer.start()
  const trials = new Trials(args)
  try {
    await body(server, trials)
  } catch (error) {
    const itself = { kind: "the test itself", about: "outside of its trials" }
    trials.judge(itself, `${args.count} --seed ${args.seed}`, { faults: [textOf(error)] })
  } finally {
    await server.remove()
  }
  process.exitCode = trials.end() ? 0 : 1
}

const PROGRESS_EVERY = 50

/** Plays trials and counts how they end. */
export class Trials {
  readonly #args: TrialArguments
  readonly #counts = new Map<string, { passed: number; failed: number }>()

  constructor(args: TrialArguments) {
    this.#args = args
  }

  /** Plays all of them, or the one that `--only` names, so many at a time; those that came to an end. What `play` throws is a fault. */
  async play<T extends Trial, O extends Outcome>(
    trials: readonly T[],
    play: (trial: T) => Promise<O>,
    atATime = 1,
  ): Promise<{ trial: T; outcome: O }[]> {
    const { count, seed, only } = this.#args
    const todo = [...trials.entries()].filter(([i]) => only === undefined || i + 1 === only)
    if (only !== undefined && todo.length === 0)
      throw new Error(`there is no trial ${only}, only 1 to ${trials.length}`)
    const all = todo.length
    const done: { trial: T; outcome: O }[] = []
    const one = async (): Promise<void> => {
      for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
        const [i, trial] = next
        const outcome = await play(trial).catch((error: unknown) => textOf(error))
        if (typeof outcome !== "string") done.push({ trial, outcome })
        this.judge(
          trial,
          `${count} --seed ${seed} --only ${i + 1}`,
          typeof outcome === "string" ? { faults: [outcome] } : outcome,
        )
        if ((all - todo.length) % PROGRESS_EVERY === 0) console.log(`${all - todo.length} of ${all}`)
      }
    }
    await Promise.all(Array.from({ length: Math.max(1, atATime) }, one))
    return done
  }

  /** Counts a trial, and says what is wrong with it and by which arguments it is played again. */
  judge({ kind, about }: Trial, again: string, { last, faults }: Outcome): void {
    const counts = this.#counts.get(kind) ?? { passed: 0, failed: 0 }
    this.#counts.set(kind, counts)
    counts[faults.length === 0 ? "passed" : "failed"]++
    const what = `${kind}, ${about}${last === undefined ? "" : `, after "${last}"`}`
    if (faults.length > 0) console.log(`FAILED  ${again}: ${what}\n  ${faults.join("\n  ")}`)
    else if (this.#args.only !== undefined) console.log(what)
  }

  /** Says how many of each kind passed and failed; whether none failed. */
  end(): boolean {
    const sum = { passed: 0, failed: 0 }
    for (const [kind, { passed, failed }] of this.#counts) {
      console.log(`${kind.padEnd(24)} ${passed} passed, ${failed} failed`)
      sum.passed += passed
      sum.failed += failed
    }
    console.log(`${sum.passed} passed, ${sum.failed} failed`)
    return sum.failed === 0
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error))
