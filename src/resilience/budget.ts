import { numberOption } from "./options.ts"

export interface BudgetOptions {
  /** Retries allowed per call. Default 0.2: one retry for five calls. */
  readonly ratio?: number | undefined
  /** Retries in hand at the start. Default 10. */
  readonly reserve?: number | undefined
  /** At most so many are saved up in good times. Default 100, or `reserve` where that is more. */
  readonly capacity?: number | undefined
}

/** A token bucket that bounds how much retries add to the load of one service. Shared by all who call it. */
export interface Budget {
  /** A call begins: its share goes in. */
  deposit(): void
  /** Takes one retry out; false when there is none left. */
  withdraw(): boolean
  /** Retries in hand. */
  readonly available: number
  /** What there was at the start. */
  readonly reserve: number
  /** At most so many are saved up. */
  readonly capacity: number
}

export interface BudgetPerKey {
  /** The one budget of a key, such as a host. */
  of(key: string): Budget
}

/** A budget. Throws `CONFIG` when an option makes no sense. */
export function budget(options: BudgetOptions = {}): Budget {
  const ratio = numberOption("ratio", options.ratio ?? 0.2, { min: 0 })
  const reserve = numberOption("reserve", options.reserve ?? 10, { min: 0 })
  const capacity = numberOption("capacity", options.capacity ?? Math.max(100, reserve), { min: reserve })
  let tokens = reserve
  return {
    reserve,
    capacity,
    deposit() {
      tokens = Math.min(capacity, tokens + ratio)
    },
    withdraw() {
      // Fractions add up with an error in the last digits: five fifths are one.
      if (tokens < 1 - 1e-9) return false
      tokens = Math.max(0, tokens - 1)
      return true
    },
    get available() {
      return tokens
    },
  }
}

/** Budgets of the same size, one per key. */
export function budgetPerKey(options: BudgetOptions = {}): BudgetPerKey {
  const budgets = new Map<string, Budget>()
  return {
    of(key) {
      const known = budgets.get(key)
      if (known !== undefined) return known
      const made = budget(options)
      budgets.set(key, made)
      return made
    },
  }
}
