/** Columns of a trend. */
export const TREND_COLUMNS = 24

/** Slices that are kept of the whole time; when time outgrows them they double. */
const MOST_SLICES = 96

/** Counts by slice of time: slice number (time divided by the width) to count. */
export type Slices = Map<number, number>

/**
 * Counts over time in constant memory, without knowing beforehand how long it will be: slices begin at a millisecond, and double whenever
 * there are too many of them. All counts that are kept with one timeline share its slices.
 */
export class Timeline {
  /** Milliseconds of a slice. */
  #width = 1
  #low = Infinity
  #high = -Infinity
  readonly #kept: Slices[] = []

  /** A count of its own on this timeline. */
  slices(): Slices {
    const made: Slices = new Map()
    this.#kept.push(made)
    return made
  }

  /** Counts one at `time` (milliseconds since the epoch) in each of `into`. */
  add(time: number, ...into: Slices[]): void {
    let slice = Math.floor(time / this.#width)
    if (slice < this.#low || slice > this.#high) {
      this.#low = Math.min(this.#low, slice)
      this.#high = Math.max(this.#high, slice)
      while (this.#high - this.#low >= MOST_SLICES) this.#double()
      slice = Math.floor(time / this.#width)
    }
    for (const slices of into) slices.set(slice, (slices.get(slice) ?? 0) + 1)
  }

  /** The counts in `TREND_COLUMNS` columns from the first time to the last. A slice over two columns counts in both by its share. */
  trend(slices: Slices): number[] {
    const span = this.#high - this.#low + 1
    const shares = new Array<number>(TREND_COLUMNS + 1).fill(0)
    for (const [slice, count] of slices) spread(shares, count, slice - this.#low, span)
    let sum = 0
    let told = 0
    return shares.slice(0, TREND_COLUMNS).map((share) => {
      sum += share
      const whole = Math.round(sum) - told
      told += whole
      return whole
    })
  }

  #double(): void {
    this.#width *= 2
    this.#low = Math.floor(this.#low / 2)
    this.#high = Math.floor(this.#high / 2)
    for (const slices of this.#kept) {
      const before = [...slices]
      slices.clear()
      for (const [slice, count] of before) {
        const wider = Math.floor(slice / 2)
        slices.set(wider, (slices.get(wider) ?? 0) + count)
      }
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
