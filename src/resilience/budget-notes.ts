import type { BudgetNote } from "../core/breakers.ts"
import type { Clock } from "../core/clock.ts"
import type { Budget } from "./budget.ts"

export interface BudgetNotesOptions {
  readonly clock: Clock
  /** Puts down how a budget stands. */
  readonly write: (name: string, note: BudgetNote) => Promise<void>
  /** Told when that fails; nothing else comes of it. */
  readonly onError: (error: unknown) => void
}

/** While it is drawn on, a budget is put down at most this often. */
const EVERY_MS = 1_000

/** Has it put down how budgets stand, for people to look at. No call waits for it. */
export class BudgetNotes {
  readonly #options: BudgetNotesOptions
  readonly #watched = new Map<string, Budget>()
  readonly #written = new Map<string, number>()
  #writing: Promise<void> = Promise.resolve()

  constructor(options: BudgetNotesOptions) {
    this.#options = options
  }

  /** The budget, watched: that it is drawn on is put down, at most once a second. */
  watched(name: string, budget: Budget): Budget {
    const known = this.#watched.get(name)
    if (known !== undefined) return known
    const watched: Budget = {
      reserve: budget.reserve,
      capacity: budget.capacity,
      get available() {
        return budget.available
      },
      deposit: () => budget.deposit(),
      withdraw: () => {
        const isGiven = budget.withdraw()
        const now = this.#options.clock.monotonic()
        if (now - (this.#written.get(name) ?? -Infinity) >= EVERY_MS) this.#write(name, budget, now)
        return isGiven
      },
    }
    this.#watched.set(name, watched)
    return watched
  }

  /** Puts down how all of them stand now; resolves when that is done. */
  async settle(): Promise<void> {
    for (const [name, budget] of this.#watched) this.#write(name, budget, this.#options.clock.monotonic())
    await this.#writing
  }

  #write(name: string, { available, reserve, capacity }: Budget, now: number): void {
    this.#written.set(name, now)
    const { write, onError } = this.#options
    this.#writing = this.#writing.then(() => write(name, { available, reserve, capacity })).catch(onError)
  }
}
