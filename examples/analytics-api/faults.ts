import { chance, numberOf, pick, sequence } from "./chance.ts"

/** How a request fails: a status, no answer at all, or an answer that is cut off. */
export type Fault = "500" | "503" | "429" | "silence" | "cut"

const FAULTS: readonly Fault[] = ["500", "500", "500", "503", "503", "429", "429", "silence", "cut", "cut"]

/** No request fails more often than this one after the other. */
const IN_A_ROW = 3

/**
 * Which requests fail. It depends on what is asked for and for the how-many-th time, and not on the order in which requests of
 * different pages arrive.
 */
export class FaultPlan {
  readonly #seed: number
  readonly #rate: number
  readonly #asked = new Map<string, { times: number; failed: number }>()

  constructor(seed: number, rate: number) {
    this.#seed = seed
    this.#rate = rate
  }

  /** The fault of this request; undefined when it is to succeed. */
  next(what: string): Fault | undefined {
    const asked = this.#asked.get(what) ?? { times: 0, failed: 0 }
    this.#asked.set(what, asked)
    const random = sequence(this.#seed, numberOf(what), ++asked.times)
    if (asked.failed === IN_A_ROW || !chance(random, this.#rate)) {
      asked.failed = 0
      return undefined
    }
    asked.failed++
    return pick(random, FAULTS)
  }
}
