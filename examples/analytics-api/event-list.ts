import { EventMaker, type EventOptions, type Item, type ValidEvent } from "./events.ts"

/** What a pipeline has to find: each valid event once, whatever its spelling and however often it was sent, and each bad item. */
export interface Truth {
  readonly valid: readonly ValidEvent[]
  readonly bad: readonly { readonly sent: unknown; readonly why: string }[]
}

export interface Slice {
  /** Milliseconds since 1970; from this time on. */
  readonly since: number
  /** Up to this time, not included. */
  readonly until: number
  /** Items to pass over. */
  readonly from: number
  readonly count: number
}

/** The events that the API has, by time. */
export class EventList {
  readonly #maker: EventMaker
  readonly #options: EventOptions
  readonly #growsWithTime: boolean
  /** By time; those of one time in the order in which they were made. */
  #items: Item[] = []

  /** `events`: how many there are; undefined: as many as there would be by now. */
  constructor(options: EventOptions, events: number | undefined) {
    this.#options = options
    this.#maker = new EventMaker(options)
    this.#growsWithTime = events === undefined
    this.add(events ?? 0)
  }

  get made(): number {
    return this.#maker.made
  }

  add(count: number): void {
    const more = Array.from({ length: count }, () => this.#maker.next())
    this.#items = [...this.#items, ...more].sort((a, b) => a.at - b.at)
  }

  page(slice: Slice): { items: unknown[]; hasMore: boolean } {
    this.#grow()
    const first = this.#indexOf(slice.since) + slice.from
    const end = this.#indexOf(slice.until)
    const last = Math.min(first + slice.count, end)
    return { items: this.#items.slice(first, Math.max(first, last)).map(({ sent }) => sent), hasMore: last < end }
  }

  truth(): Truth {
    this.#grow()
    const valid = new Map<string, ValidEvent>()
    const bad: Truth["bad"][number][] = []
    for (const { sent, truth } of this.#items)
      if ("bad" in truth) bad.push({ sent, why: truth.bad })
      else valid.set([truth.valid.user_id, truth.valid.timestamp, truth.valid.event_type].join(" "), truth.valid)
    return { valid: [...valid.values()], bad }
  }

  #grow(): void {
    if (!this.#growsWithTime) return
    const { start, interval } = this.#options
    const missing = Math.floor((Date.now() - start) / interval) - this.made
    if (missing > 0) this.add(missing)
  }

  /** The first item at this time or later. */
  #indexOf(time: number): number {
    let [low, high] = [0, this.#items.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#items[middle] as Item).at < time) low = middle + 1
      else high = middle
    }
    return low
  }
}
