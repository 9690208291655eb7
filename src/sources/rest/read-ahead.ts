/** Hands an item on; waits while as many as are allowed have not been taken. */
export type Put<T> = (item: T) => Promise<void>

/**
 * What `produce` puts, in order, while it works ahead: at most `most` items wait to be taken. When the reader stops early, or `signal` is aborted,
 * `produce` is told by its signal and waited for. Its failure is met after what it had put before.
 */
export async function* readAhead<T>(
  produce: (put: Put<T>, signal: AbortSignal) => Promise<void>,
  most: number,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  const stop = new AbortController()
  const both = AbortSignal.any([signal, stop.signal])
  const ready: T[] = []
  let wakeReader = (): void => undefined
  let wakeProducer = (): void => undefined
  let end: { readonly error?: unknown } | undefined

  const put: Put<T> = async (item) => {
    ready.push(item)
    wakeReader()
    while (ready.length >= most && !both.aborted) await new Promise<void>((resolve) => (wakeProducer = resolve))
    both.throwIfAborted()
  }
  const onAbort = (): void => wakeProducer()
  both.addEventListener("abort", onAbort)
  const working = produce(put, both).then(
    () => (end = {}),
    (error: unknown) => (end = { error }),
  )
  void working.then(() => wakeReader())
  try {
    for (;;) {
      const item = ready.shift()
      if (item !== undefined) {
        wakeProducer()
        yield item
      } else if (end === undefined) await new Promise<void>((resolve) => (wakeReader = resolve))
      else if ("error" in end) throw end.error
      else return
    }
  } finally {
    stop.abort()
    await working
    both.removeEventListener("abort", onAbort)
  }
}
