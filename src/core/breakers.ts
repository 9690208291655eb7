import type { JsonValue } from "./json.ts"

/** A breaker as a store keeps it. Times in milliseconds since the epoch, on the store's clock. */
export interface StoredBreaker {
  readonly state: "closed" | "open" | "half_open"
  readonly openedAt: number | undefined
  readonly retryAt: number | undefined
  /** What else belongs to the state; opaque to the store. */
  readonly stats: { readonly [key: string]: JsonValue }
}

/** How the budget for retries of one service stands. */
export interface BudgetNote {
  /** Retries in hand. */
  readonly available: number
  /** What there was at the start. */
  readonly reserve: number
  /** At most so many are saved up. */
  readonly capacity: number
}

/** Where the state of breakers is kept, by name. Whoever shares a store shares its breakers. */
export interface BreakerStore {
  /** A closed breaker's state, and an open one's, is trusted for so long before the store is asked again; 0 asks for every call. */
  readonly staleAfterMs: number
  /** The breaker, undefined where there is none yet, with its version (0 for none) and the store's time. */
  read(
    name: string,
  ): Promise<{ readonly now: number; readonly version: number; readonly stored: StoredBreaker | undefined }>
  /** Writes only if `version` is still the one that was read; whether it did. */
  write(name: string, version: number, next: StoredBreaker): Promise<boolean>
  /** Puts down how a service's budget for retries stands, for people to look at; undefined where nobody does. */
  noteBudget?(name: string, note: BudgetNote): Promise<void>
}
