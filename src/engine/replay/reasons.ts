/** Why letters came to an outcome. */
export interface ReplayReason {
  readonly outcome: string
  readonly reason: string
  readonly letters: number
}

/** More are not told: by then the first ones say what is wrong. */
const MOST_TOLD = 20
/** More are not kept: reasons can quote values, and there may be as many as letters. */
const MOST_KEPT = 1_000

export class ReasonTally {
  readonly #reasons = new Map<string, { outcome: string; reason: string; letters: number }>()

  add(outcome: string, reason: string | undefined): void {
    if (reason === undefined) return
    const key = `${outcome}\0${reason}`
    const known = this.#reasons.get(key)
    if (known !== undefined) known.letters++
    else if (this.#reasons.size < MOST_KEPT) this.#reasons.set(key, { outcome, reason, letters: 1 })
  }

  /** The most frequent first. */
  most(): readonly ReplayReason[] {
    return [...this.#reasons.values()].sort((a, b) => b.letters - a.letters).slice(0, MOST_TOLD)
  }
}
