import { SpillwayError } from "../core/errors.ts"
import { parseAddress, shownAddress } from "./http-address.ts"
import type { Answer, Exchange } from "./http-transport.ts"

export interface RedirectNotice {
  /** Addresses as they may be shown. */
  readonly from: string
  readonly to: string
  /** It leads to another host (or port, or from https to http): only harmless headers go there. */
  readonly credentialsDropped: boolean
}

export interface RedirectOptions {
  /** How many are followed. */
  readonly max: number
  readonly onRedirect: (notice: RedirectNotice) => void
}

export interface Arrival {
  readonly answer: Answer
  readonly url: URL
  readonly credentialsDropped: boolean
}

const REDIRECTS = new Set([301, 302, 303, 307, 308])

/** What another host may know of a request; whatever else a header is for, it may be a credential. */
const HARMLESS_HEADERS = new Set(["accept", "accept-encoding", "accept-language", "user-agent", "range", "if-range"])
const BODY_HEADERS = new Set(["content-type", "content-encoding", "content-language"])

/**
 * Exchanges, and follows redirects to where they lead. Throws `CONFIG` when they lead in a circle, are too many, or would hand a request body to
 * another host.
 */
export async function follow(
  exchange: (next: Exchange) => Promise<Answer>,
  first: Exchange,
  options: RedirectOptions,
): Promise<Arrival> {
  const visited = new Set([visit(first)])
  let current = first
  let credentialsDropped = false
  for (;;) {
    const answer = await exchange(current)
    const location = answer.headers["location"]
    if (!REDIRECTS.has(answer.status) || location === undefined) return { answer, url: current.url, credentialsDropped }
    await answer.discard()
    if (visited.size > options.max) throw tooMany(current, options.max)
    const next = redirected(current, answer.status, parseAddress(location, current.url))
    const crosses = next.url.origin !== current.url.origin
    credentialsDropped ||= crosses
    options.onRedirect({ from: shownAddress(current.url), to: shownAddress(next.url), credentialsDropped: crosses })
    if (visited.has(visit(next))) throw circle(first, next)
    visited.add(visit(next))
    current = next
  }
}

const visit = ({ method, url }: Exchange): string => `${method} ${url.href}`

function redirected(exchange: Exchange, status: number, to: URL): Exchange {
  const url = new URL(to)
  url.username = ""
  url.password = ""
  url.hash = ""
  const becomesGet =
    (status === 303 && exchange.method !== "HEAD") || ((status === 301 || status === 302) && exchange.method === "POST")
  const method = becomesGet ? "GET" : exchange.method
  const body = becomesGet ? undefined : exchange.body
  const crosses = url.origin !== exchange.url.origin
  if (crosses && body !== undefined) throw bodyElsewhere(exchange, url)
  const kept = Object.entries(exchange.headers).filter(
    ([name]) => (!crosses || HARMLESS_HEADERS.has(name)) && !(becomesGet && BODY_HEADERS.has(name)),
  )
  const where = `${method} ${shownAddress(url)}`
  return { url, method, body, headers: Object.fromEntries(kept), signal: exchange.signal, where }
}

const tooMany = (at: Exchange, max: number): SpillwayError =>
  new SpillwayError("CONFIG", `more than ${max} redirects`, {
    where: at.where,
    hint: "use the address they lead to in the end; if they never end, ask who runs the server",
  })

const circle = (first: Exchange, back: Exchange): SpillwayError =>
  new SpillwayError("CONFIG", `the redirects lead in a circle, back to ${shownAddress(back.url)}`, {
    where: first.where,
    hint: "servers do so when a cookie or a login is missing; use the address that is really meant",
  })

const bodyElsewhere = (from: Exchange, to: URL): SpillwayError =>
  new SpillwayError("CONFIG", `the server wants the request's body sent on to another host, ${to.host}`, {
    where: from.where,
    hint: "send the request to that host yourself if it may have the data",
  })
