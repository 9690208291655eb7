/** The steps of a generator, of which the next one can be begun before it is asked for. */
export class EarlyIterator<T> implements AsyncIterator<T, void> {
  readonly #steps: AsyncGenerator<T, void, void>
  #begun: Promise<IteratorResult<T, void>> | undefined

  constructor(steps: AsyncGenerator<T, void, void>) {
    this.#steps = steps
  }

  /** Begins the next step, unless it is begun. It may come to its end, or fail, before anybody asks for it. */
  begin(): void {
    if (this.#begun !== undefined) return
    this.#begun = this.#steps.next()
    // Told to whoever asks for it, which may be nobody.
    this.#begun.catch(() => undefined)
  }

  next(): Promise<IteratorResult<T, void>> {
    const step = this.#begun ?? this.#steps.next()
    this.#begun = undefined
    return step
  }

  /** A generator comes to the end of a step that is begun before it returns. */
  return(): Promise<IteratorResult<T, void>> {
    return this.#steps.return()
  }
}
