const SECONDS = /^\d+(?:\.\d+)?$/
/** The three forms of a date that HTTP knows begin with the name of a day. */
const DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} /

/**
 * A `Retry-After` header (seconds, or an HTTP date) as milliseconds from now, never below 0; undefined when it is neither. `now` is in
 * milliseconds since the epoch, by the server's own `Date` header where there is one: a clock that is wrong here must not cut the wait short.
 */
export function retryAfterMs(header: string, now: number): number | undefined {
  const text = header.trim()
  if (SECONDS.test(text)) return Math.ceil(Number(text) * 1_000)
  const at = httpDate(text)
  return at === undefined ? undefined : Math.max(0, at - now)
}

/** An HTTP date in milliseconds since the epoch, or undefined. */
export function httpDate(text: string): number | undefined {
  if (!DATE.test(text)) return undefined
  const at = Date.parse(ASCTIME.test(text) ? `${text} GMT` : text)
  return Number.isNaN(at) ? undefined : at
}
