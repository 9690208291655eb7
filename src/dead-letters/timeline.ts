/** Columns of a trend. */
export const TREND_COLUMNS = 24

/** Slices that are kept of the whole time; when time outgrows them they double. */
const MOST_SLICES = 96

/** Counts by slice of time, from the timeline's first slice on. */
export type Slices = Float64Array

/**
 * Counts over time in constant memory, without knowing beforehand how long it will be: slices begin at a millisecond, and double whenever
 * there are too many of them. All counts that are kept with one timeline share its slices.
 */
export class Timeline {
  /** Milliseconds of a slice. */
  #width = 1
  /** The slices (time divided by the width) that were met. */
  #low = Infinity
  #high = -Infinity
  /** The slice that stands first in the counts: as many before the first time as may follow it. */
  #base = 0
  readonly #kept: Slices[] = []

  /** A count of its own on this timeline. */
  slices(): Slices {
    const made = new Float64Array(2 * MOST_SLICES)
    this.#kept.push(made)
    return made
  }

  /** Counts one at `time` (milliseconds since the epoch) in `all`, and in `some` where that is given. */
  add(time: number, all: Slices, some?: Slices): void {
    let slice = Math.floor(time / this.#width)
    if (slice < this.#low || slice > this.#high) slice = this.#widen(slice, time)
    const at = slice - this.#base
    all[at] = (all[at] as number) + 1
    if (some !== undefined) some[at] = (some[at] as number) + 1
  }

  /** The counts in `TREND_COLUMNS` columns from the first time to the last. A slice over two columns counts in both by its share. */
  trend(slices: Slices): number[] {
    const span = this.#high - this.#low + 1
    const shares = new Array<number>(TREND_COLUMNS + 1).fill(0)
    slices.forEach((count, at) => {
      if (count > 0) spread(shares, count, this.#base + at - this.#low, span)
    })
    let sum = 0
    let told = 0
    return shares.slice(0, TREND_COLUMNS).map((share) => {
      sum += share
      const whole = Math.round(sum) - told
      told += whole
      return whole
    })
  }

  /** Makes room for a slice that was not met before; gives the slice that it is then. */
  #widen(slice: number, time: number): number {
    if (this.#high < this.#low) this.#base = slice - MOST_SLICES
    this.#low = Math.min(this.#low, slice)
    this.#high = Math.max(this.#high, slice)
    while (this.#high - this.#low >= MOST_SLICES) this.#double()
    return Math.floor(time / this.#width)
  }

  #double(): void {
    const before = this.#base
    this.#width *= 2
    this.#low = Math.floor(this.#low / 2)
    this.#high = Math.floor(this.#high / 2)
    this.#base = Math.floor((before + MOST_SLICES) / 2) - MOST_SLICES
    for (const slices of this.#kept) {
      const counts = slices.slice()
      slices.fill(0)
      counts.forEach((count, at) => {
        if (count === 0) return
        const wider = Math.floor((before + at) / 2) - this.#base
        slices[wider] = (slices[wider] as number) + count
      })
    }
  }
}

/** Spreads a count over the columns that slice `at` of `span` covers. */
function spread(shares: number[], count: number, at: number, span: number): void {
  const from = (at * TREND_COLUMNS) / span
  const to = ((at + 1) * TREND_COLUMNS) / span
  for (let column = Math.floor(from); column < to; column++) {
    const covered = Math.min(to, column + 1) - Math.max(from, column)
    shares[column] = (shares[column] ?? 0) + (count * covered) / (to - from)
  }
}
