// A small API of events that fails now and then, always in the same way for the same seed.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { EventList, type Truth } from "./event-list.ts"
import { FaultPlan, type Fault } from "./faults.ts"

export interface ServerOptions {
  /** Default 0: any free one. */
  readonly port?: number
  /** What requests have to carry: `Authorization: Bearer …`. */
  readonly token: string
  readonly seed: number
  /** Time of the first event, milliseconds since 1970. */
  readonly start: number
  /** Milliseconds between two events. */
  readonly interval: number
  /** Events there are from the beginning. Undefined: as many as there would be by now, and more as time goes by. */
  readonly events?: number | undefined
  /** Share of items that are malformed. Default 0.02. */
  readonly malformedRate?: number
  /** Share of requests that fail. Default 0.1. */
  readonly failureRate?: number
  /** Seconds that a 429 asks for. Default 1. */
  readonly retryAfter?: number
}

/** What the server counted. Every request for `/analytics` is answered, refused or failed. */
export interface RequestCounts {
  readonly requests: number
  /** Answered with a page. */
  readonly pages: number
  /** Different pages among them: different queries. */
  readonly differentPages: number
  readonly failed: Readonly<Record<Fault, number>>
  /** Without the token, or with a query that makes no sense. */
  readonly refused: number
  /** Came back before the time that a 429 named was over. */
  readonly tooSoon: number
}

export interface AnalyticsServer {
  /** `http://127.0.0.1:port` */
  readonly url: string
  readonly truth: () => Truth
  readonly counts: () => RequestCounts
  /** More events. */
  readonly add: (count: number) => void
  /** Does not keep the process running. */
  readonly unref: () => void
  readonly close: () => Promise<void>
}

const MAX_PER_PAGE = 100
/** A client that does not give up is let go after so many milliseconds. */
const SILENCE_MS = 5_000

/** Starts it on 127.0.0.1. Rejects with `EADDRINUSE` when the port is taken. */
export async function startServer(options: ServerOptions): Promise<AnalyticsServer> {
  const api = new Api(options)
  const sockets = new Set<Socket>()
  let isUnref = false
  const server = createServer((request, response) => api.answer(request, response))
  server.on("connection", (socket: Socket) => {
    if (isUnref) socket.unref()
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  await listen(server, options.port ?? 0)
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    truth: () => api.events.truth(),
    counts: () => api.counts(),
    add: (count) => api.events.add(count),
    unref: () => {
      isUnref = true
      server.unref()
      for (const socket of sockets) socket.unref()
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject)
      resolve()
    })
  })
}

class Api {
  readonly events: EventList
  readonly #token: string
  readonly #faults: FaultPlan
  readonly #retryAfter: number
  readonly #given = new Set<string>()
  /** By query: until when it was asked to wait, by the process's own clock. */
  readonly #waiting = new Map<string, number>()
  #requests = 0
  #pages = 0
  #refused = 0
  #tooSoon = 0
  readonly #failed: Record<Fault, number> = { "500": 0, "503": 0, "429": 0, silence: 0, cut: 0 }

  constructor({ token, seed, start, interval, events, malformedRate, failureRate, retryAfter }: ServerOptions) {
    this.#token = token
    this.#retryAfter = retryAfter ?? 1
    this.events = new EventList({ seed, start, interval, malformedRate: malformedRate ?? 0.02 }, events)
    this.#faults = new FaultPlan(seed, failureRate ?? 0.1)
  }

  counts(): RequestCounts {
    return {
      requests: this.#requests,
      pages: this.#pages,
      differentPages: this.#given.size,
      failed: { ...this.#failed },
      refused: this.#refused,
      tooSoon: this.#tooSoon,
    }
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://localhost")
    const route = `${request.method} ${url.pathname}`
    if (request.headers.authorization !== `Bearer ${this.#token}`) {
      if (url.pathname === "/analytics") this.#refuse(response, 401, "a token is needed")
      else send(response, 401, { error: "a token is needed" })
    } else if (route === "GET /analytics") this.#page(url.searchParams, response)
    else if (route === "GET /admin/truth") send(response, 200, this.events.truth())
    else if (route === "GET /admin/counts") send(response, 200, this.counts())
    else if (route === "POST /admin/add") {
      this.events.add(Number(url.searchParams.get("count") ?? 100))
      send(response, 200, { made: this.events.made })
    } else send(response, 404, { error: "there is no such address" })
  }

  #page(query: URLSearchParams, response: ServerResponse): void {
    const page = Number(query.get("page") ?? 1)
    const perPage = Number(query.get("per_page") ?? MAX_PER_PAGE)
    const since = timeOf(query.get("since"), -Infinity)
    const until = timeOf(query.get("until"), Infinity)
    if (!isWithin(page, Infinity) || !isWithin(perPage, MAX_PER_PAGE) || Number.isNaN(since) || Number.isNaN(until))
      return this.#refuse(response, 400, "page, per_page (1 to 100), since or until is not well formed")
    this.#requests++
    const what = [page, perPage, since, until].join(" ")
    if (performance.now() < (this.#waiting.get(what) ?? 0)) this.#tooSoon++
    const { items, hasMore } = this.events.page({ since, until, from: (page - 1) * perPage, count: perPage })
    const body = { items, has_more: hasMore }
    const fault = this.#faults.next(what)
    if (fault !== undefined) return this.#fail(fault, what, response, body)
    this.#pages++
    this.#given.add(what)
    send(response, 200, body)
  }

  #refuse(response: ServerResponse, status: number, error: string): void {
    this.#requests++
    this.#refused++
    send(response, status, { error })
  }

  #fail(fault: Fault, what: string, response: ServerResponse, body: unknown): void {
    this.#failed[fault]++
    if (fault === "silence") {
      setTimeout(() => response.destroy(), SILENCE_MS).unref()
    } else if (fault === "cut") {
      const text = JSON.stringify(body)
      response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) })
      response.write(text.slice(0, text.length / 2), () => response.destroy())
    } else if (fault === "429") {
      this.#waiting.set(what, performance.now() + this.#retryAfter * 1000)
      response.setHeader("retry-after", this.#retryAfter)
      send(response, 429, { error: "slow down" })
    } else send(response, Number(fault), { error: "something went wrong" })
  }
}

const isWithin = (number: number, max: number): boolean => Number.isInteger(number) && number >= 1 && number <= max

const timeOf = (text: string | null, missing: number): number => (text === null ? missing : Date.parse(text))

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" })
  response.end(JSON.stringify(body))
}
