import type { Readable } from "node:stream"
import type { LookupFunction } from "node:net"
import type { Agent, buildConnector } from "undici"
import { transportError } from "./http-errors.ts"
import { cancellation } from "./policy.ts"
import { isPublicAddress, notPublic, publicLookup } from "./public-address.ts"

export interface TransportOptions {
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly bodyTimeoutMs: number
  readonly publicOnly: boolean
  /** Certificate authorities to trust besides none of the usual ones, PEM. */
  readonly ca: string | undefined
  readonly lookup: LookupFunction | undefined
}

export interface Exchange {
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | undefined
  readonly signal: AbortSignal | undefined
  /** The address as it may be shown. */
  readonly where: string
}

/** What came back; the body is yet to come and must be read, discarded or destroyed. */
export interface Answer {
  readonly status: number
  /** Names in lower case; several of one name are joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readable
  /** Reads a short body to its end, so that the connection can be used again; cuts a long one off. */
  discard(): Promise<void>
}

/** One request and its answer over kept connections: no redirects, no retries. */
export class Transport {
  readonly #options: TransportOptions
  #agent: Promise<Agent> | undefined

  constructor(options: TransportOptions) {
    this.#options = options
  }

  /** Throws the codes of docs/resilience.md; any status is an answer. */
  async exchange(exchange: Exchange): Promise<Answer> {
    const { url, method, signal, where } = exchange
    this.#agent ??= makeAgent(this.#options)
    const agent = await this.#agent
    if (this.#options.publicOnly) requirePublicLiteral(url)
    try {
      const { statusCode, headers, body } = await agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: exchange.headers,
        body: exchange.body ?? null,
        signal: signal ?? null,
      })
      // Unread, an error of the body would be nobody's; readers still get it.
      body.on("error", () => undefined)
      const discard = (): Promise<void> => body.dump({ limit: DISCARDED_BYTES, ...(signal ? { signal } : {}) })
      return { status: statusCode, headers: flat(headers), body, discard }
    } catch (error) {
      if (signal?.aborted) throw cancellation(signal)
      throw transportError(error, where)
    }
  }

  /** Closes all connections at once. */
  async close(): Promise<void> {
    const agent = await this.#agent
    this.#agent = undefined
    await agent?.destroy()
  }
}

const DISCARDED_BYTES = 64 * 1024

async function makeAgent(options: TransportOptions): Promise<Agent> {
  const { Agent, buildConnector } = await import("undici")
  const { connectTimeoutMs, headersTimeoutMs, bodyTimeoutMs, publicOnly, ca } = options
  const lookup = publicOnly ? publicLookup(options.lookup) : options.lookup
  const connect = buildConnector({
    timeout: connectTimeoutMs,
    allowH2: false,
    ...(ca === undefined ? {} : { ca }),
    ...(lookup === undefined ? {} : { lookup }),
  })
  return new Agent({
    connect: publicOnly ? connectToPublic(connect) : connect,
    headersTimeout: headersTimeoutMs,
    bodyTimeout: bodyTimeoutMs,
  })
}

/** The last word has the address at the other end of the connection. */
function connectToPublic(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (error, socket) => {
      if (error !== null) return callback(error, null)
      const address = socket.remoteAddress ?? ""
      if (isPublicAddress(address)) return callback(null, socket)
      socket.destroy()
      return callback(notPublic(options.hostname, address), null)
    })
}

/** Addresses that need no resolving are refused before anything is connected. */
function requirePublicLiteral(url: URL): void {
  const host = url.hostname
  const isLiteral = /^\[.*\]$|^[\d.]+$/.test(host)
  if (isLiteral && !isPublicAddress(host)) throw notPublic(host, host.replace(/^\[|\]$/g, ""))
}

function flat(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  const flattened: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined) flattened[name.toLowerCase()] = typeof value === "string" ? value : value.join(", ")
  }
  return flattened
}
