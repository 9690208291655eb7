import { createServer, type AddressInfo, type Server, type Socket } from "node:net"
import { gzipSync } from "node:zlib"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { z } from "zod"
import { pipeline, table } from "../../src/index.ts"
import { bearer, bodyCursor, pageNumber, rest, type RestOptions } from "../../src/sources/index.ts"
import type { RunReport } from "../../src/engine/report.ts"
import { testBed, type Bed } from "../engine/bed.ts"
import { certificate, endServers, httpServer, rawServer, tlsServer } from "../resilience/servers.ts"
import { numbered, sendJson } from "./rest-api.ts"

let bed: Bed
beforeAll(async () => {
  bed = await testBed()
})
afterAll(() => bed.end())
afterEach(endServers)

const PAGES = 5
const PER_PAGE = 10

/** What a well-behaved server sends for a page. */
const pageBody = (page: number): string =>
  JSON.stringify({ items: numbered(PER_PAGE, (page - 1) * PER_PAGE + 1), more: page < PAGES })

function sendPage(socket: Socket, page: number): void {
  const body = pageBody(page)
  socket.write(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

/** Long enough for an honest answer of a busy machine. */
const HTTP: RestOptions["http"] = {
  connectTimeout: 5_000,
  headersTimeout: 1_500,
  bodyTimeout: 1_500,
  tryTimeout: 4_000,
  retry: { attempts: 2, baseDelay: 1, maxDelay: 2 },
}

let name = 0
const toxic = (source: RestOptions, called: string) =>
  pipeline({
    name: called,
    source: rest({ paginate: pageNumber({ more: "more" }), http: HTTP, name: called, ...source }),
    schema: z.object({ id: z.int(), name: z.string() }),
    sink: table(`toxic.${called}`, { key: ["id"] }),
  })

const codeOf = (report: RunReport): string | undefined => report.error?.code ?? report.held[0]?.code

const idsIn = async (called: string): Promise<number[]> =>
  (await bed.rows<{ id: number }>(`SELECT id::int FROM toxic.${called} ORDER BY id`)).map(({ id }) => id)

const ALL = Array.from({ length: PAGES * PER_PAGE }, (_, i) => i + 1)

interface Case {
  /** What the server does when it is asked for page 3. */
  readonly poison: (socket: Socket) => void
  readonly code: string
  /** Parts of message and hint. */
  readonly says: readonly [string, string]
  readonly status: RunReport["status"]
  /** Pages that the next run asks for: those that were not staged, or all where the partition was held. */
  readonly then: readonly number[]
}

const rest3 = [3, 4, 5]
const all = [1, 2, 3, 4, 5]
const head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"

/** A gigabyte of zeros in a megabyte: gzip members one after the other. */
const bomb = (): Buffer => Buffer.concat(Array<Buffer>(64).fill(gzipSync(Buffer.alloc(16 * 1024 * 1024))))

const CONNECTION_BROKE = ["the connection broke", "closes connections early"] as const

const cases: Record<string, Case> = {
  "is silent": {
    poison: () => undefined,
    code: "RETRY_EXHAUSTED",
    says: ["no answer in time", "slow or overloaded"],
    status: "failed",
    then: rest3,
  },
  "closes without an answer": {
    poison: (socket) => socket.end(),
    code: "RETRY_EXHAUSTED",
    says: CONNECTION_BROKE,
    status: "failed",
    then: rest3,
  },
  "resets the connection": {
    poison: (socket) => socket.resetAndDestroy(),
    code: "RETRY_EXHAUSTED",
    says: CONNECTION_BROKE,
    status: "failed",
    then: rest3,
  },
  "resets it in the middle of the body": {
    poison: (socket) => {
      socket.write(`${head}content-length: 5000\r\n\r\n{"items":[{"id":`, () => socket.resetAndDestroy())
    },
    code: "RETRY_EXHAUSTED",
    says: CONNECTION_BROKE,
    status: "failed",
    then: rest3,
  },
  "drips the body, faster than the time-out between pieces": {
    poison: (socket) => {
      socket.write(`${head}content-length: 5000\r\n\r\n`)
      const drip = setInterval(() => socket.write(" "), 100)
      socket.on("close", () => clearInterval(drip))
    },
    code: "RETRY_EXHAUSTED",
    says: ["took longer than", "slow or down"],
    status: "failed",
    then: rest3,
  },
  "promises more than it sends": {
    poison: (socket) => socket.end(`${head}content-length: 5000\r\n\r\n${pageBody(3)}`),
    code: "RETRY_EXHAUSTED",
    says: CONNECTION_BROKE,
    status: "failed",
    then: rest3,
  },
  "promises less than it sends": {
    poison: (socket) => socket.end(`${head}content-length: 20\r\n\r\n${pageBody(3)}`),
    code: "RETRY_EXHAUSTED",
    says: ["the page is not JSON at position 20", "see what the address returns"],
    status: "failed",
    then: rest3,
  },
  "sends chunks that are none": {
    poison: (socket) => socket.end(`${head}transfer-encoding: chunked\r\n\r\nthis is no length\r\n`),
    code: "RETRY_EXHAUSTED",
    says: ["Invalid character in chunk size", "host and port"],
    status: "failed",
    then: rest3,
  },
  "ends chunks early": {
    poison: (socket) => socket.end(`${head}transfer-encoding: chunked\r\n\r\n5\r\n{"ite\r\n`),
    code: "RETRY_EXHAUSTED",
    says: CONNECTION_BROKE,
    status: "failed",
    then: rest3,
  },
  "speaks no HTTP": {
    poison: (socket) => socket.end("SSH-2.0-toxic\r\n"),
    code: "RETRY_EXHAUSTED",
    says: ["does not match the HTTP/1.1 protocol", "host and port"],
    status: "failed",
    then: rest3,
  },
  fails: {
    poison: (socket) => socket.write("HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\noops"),
    code: "RETRY_EXHAUSTED",
    says: ["the server answered 500: oops", "on the server's side"],
    status: "failed",
    then: rest3,
  },
  "asks to come back in an hour": {
    poison: (socket) => socket.write("HTTP/1.1 429 Slow\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n"),
    code: "HTTP_429",
    says: ["gave up after 1 attempt", "call again after 2"],
    status: "failed",
    then: rest3,
  },
  "no longer knows us": {
    poison: (socket) => socket.write("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"),
    code: "AUTH",
    says: ["the server answered 403", "credentials"],
    status: "failed",
    then: rest3,
  },
  "has lost the page": {
    poison: (socket) => socket.write("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"),
    code: "HTTP_4XX",
    says: ["the server answered 404", "check the address"],
    status: "partial",
    then: all,
  },
  "sends a bomb": {
    poison: (socket) => {
      const body = bomb()
      socket.write(`${head}content-encoding: gzip\r\ncontent-length: ${body.length}\r\n\r\n`)
      socket.write(body)
    },
    code: "RESOURCE",
    says: ["more than 200 times its size", "maxExpansion"],
    status: "partial",
    then: all,
  },
  "never ends the body": {
    poison: (socket) => {
      socket.write(`${head}transfer-encoding: chunked\r\n\r\n`)
      const piece = `100000\r\n${"x".repeat(0x100000)}\r\n`
      const more = (): void => {
        if (!socket.destroyed) socket.write(piece, more)
      }
      more()
    },
    code: "RESOURCE",
    says: ["the body is larger than 67108864 bytes", "maxBodyBytes"],
    status: "partial",
    then: all,
  },
  "sends headers without end": {
    poison: (socket) => {
      socket.write(`${head}x: ${"y".repeat(100_000)}`)
    },
    code: "RESOURCE",
    says: ["the headers are too large", "headers end at 16 KiB"],
    status: "partial",
    then: all,
  },
  "answers with a page for people": {
    poison: (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"),
    code: "RETRY_EXHAUSTED",
    says: ["the page is not JSON", "see what the address returns"],
    status: "failed",
    then: rest3,
  },
  "garbles what it compressed": {
    poison: (socket) => socket.write(`${head}content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd`),
    code: "RETRY_EXHAUSTED",
    says: ["the compressed body is damaged", "Content-Encoding"],
    status: "failed",
    then: rest3,
  },
  "answers with something else than the list": {
    poison: (socket) => socket.write(`${head}content-length: 14\r\n\r\n{"error":"no"}`),
    code: "DECODE",
    says: ["the page has no list of items", 'the answer is an object with the property "error"; if the list is in it'],
    status: "partial",
    then: all,
  },
  "sends in a circle": {
    poison: (socket) => socket.write("HTTP/1.1 302 Go\r\nlocation: /things?page=3\r\ncontent-length: 0\r\n\r\n"),
    code: "CONFIG",
    says: ["the redirects lead in a circle", "a cookie or a login is missing"],
    status: "failed",
    then: rest3,
  },
}

describe("a server that, on the third page,", () => {
  it.for(Object.entries(cases))("%s", { timeout: 30_000 }, async ([, { poison, code, says, status, then }]) => {
    const called = `t${++name}`
    let isToxic = true
    const asked: number[] = []
    const server = await rawServer((socket, request) => {
      const page = Number(/page=(\d+)/.exec(request)?.[1])
      asked.push(page)
      if (page === 3 && isToxic) poison(socket)
      else sendPage(socket, page)
    })
    const things = toxic({ url: `${server.origin}/things` }, called)
    const stopped = await bed.run(things)
    expect([stopped.status, codeOf(stopped)]).toEqual([status, code])
    const { message, hint } = stopped.error ?? stopped.held[0] ?? {}
    expect(message).toContain(says[0])
    expect(hint).toContain(says[1])

    isToxic = false
    asked.length = 0
    expect(await bed.run(things)).toMatchObject({
      status: "completed",
      counts: { read: 50, inserted: 50, duplicate: 0 },
    })
    expect(asked).toEqual(then)
    expect(await idsIn(called)).toEqual(ALL)
  })

  it("is gone, and comes back", async () => {
    const called = `t${++name}`
    const sockets = new Set<Socket>()
    const asked: number[] = []
    let server: Server | undefined
    const listen = (port: number, gone: (page: number) => boolean): Promise<number> => {
      const made = createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => undefined)
        socket.on("data", (piece) => {
          const page = Number(/page=(\d+)/.exec(piece.toString())?.[1])
          asked.push(page)
          if (!gone(page)) return sendPage(socket, page)
          made.close()
          for (const each of sockets) each.destroy()
        })
      })
      server = made
      return new Promise((resolve) =>
        made.listen(port, "127.0.0.1", () => resolve((made.address() as AddressInfo).port)),
      )
    }
    const port = await listen(0, (page) => page === 3)
    const things = toxic({ url: `http://localhost:${port}/things` }, called)
    const stopped = await bed.run(things)
    expect(stopped).toMatchObject({
      status: "failed",
      error: { code: "RETRY_EXHAUSTED", message: expect.stringContaining("no connection (ECONNREFUSED)") as string },
    })
    await listen(port, () => false)
    asked.length = 0
    expect(await bed.run(things)).toMatchObject({ status: "completed", counts: { inserted: 50 } })
    expect(asked).toEqual(rest3)
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server?.close(resolve))
  })

  it("sends a bomb: it is refused within bounded memory", async () => {
    const body = bomb()
    expect(body.length).toBeLessThan(1.1 * 1024 * 1024)
    const server = await httpServer((_request, response) => {
      response.writeHead(200, { "content-encoding": "gzip", "content-type": "application/json" })
      response.end(body)
    })
    const before = process.memoryUsage().rss
    let most = before
    const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 5)
    const report = await bed.run(toxic({ url: server.origin, http: { retry: { attempts: 1 } } }, `t${++name}`))
    clearInterval(watch)
    expect(codeOf(report)).toBe("RESOURCE")
    expect(most - before).toBeLessThan(256 * 1024 * 1024)
  })
})

describe("redirects", () => {
  it("a hundred of them are not followed", async () => {
    const server = await httpServer((request, response) => {
      const hops = Number(new URL(request.url ?? "", "http://x").searchParams.get("hop") ?? 0)
      if (hops >= 100) return sendJson(response, { items: numbered(1), more: false })
      response.writeHead(302, { location: `/?hop=${hops + 1}` }).end()
    })
    const report = await bed.run(toxic({ url: server.origin }, `t${++name}`))
    expect(report).toMatchObject({
      status: "failed",
      error: { code: "CONFIG", message: expect.stringContaining("more than 10 redirects") as string },
    })
  })

  it("to another host are followed without the credentials", async () => {
    const seen: Record<string, unknown>[] = []
    const other = await httpServer((request, response) => {
      seen.push({ ...request.headers })
      sendJson(response, JSON.parse(pageBody(Number(/page=(\d+)/.exec(request.url ?? "")?.[1]))))
    })
    const server = await httpServer((request, response) => {
      expect(request.headers.authorization).toBe("Bearer t0p-secret")
      response.writeHead(307, { location: `${other.origin.replace("localhost", "127.0.0.1")}${request.url}` }).end()
    })
    const called = `t${++name}`
    const source = {
      url: `${server.origin}/things`,
      auth: bearer("t0p-secret"),
      headers: { "x-api-key": "k3y-secret" },
    }
    expect(await bed.run(toxic(source, called))).toMatchObject({ status: "completed", counts: { inserted: 50 } })
    expect(seen).toHaveLength(PAGES)
    expect(JSON.stringify(seen)).not.toMatch(/t0p-secret|k3y-secret/)
  })
})

describe("five hundred pages in a loop", () => {
  it("end when the first one comes again, and hold what was read", async () => {
    let requests = 0
    const server = await httpServer((request, response) => {
      requests++
      const at = Number(new URL(request.url ?? "", "http://x").searchParams.get("cursor") ?? 0)
      // After the five hundredth page the first one follows.
      sendJson(response, { items: numbered(2, at * 2 + 1), next: at === 499 ? 0 : at + 1 })
    })
    const called = `t${++name}`
    const report = await bed.run(toxic({ url: server.origin, paginate: bodyCursor({ from: "next" }) }, called))
    expect(report).toMatchObject({ status: "partial", held: [{ code: "DATA_LOSS" }] })
    expect(requests).toBeLessThan(505)
    expect(await bed.value(`SELECT count(*)::int FROM toxic.${called}`)).toBe(0)
  })
})

describe("encrypted connections", () => {
  it("that are never made end in time", async () => {
    const server = await rawServer(() => undefined)
    const http = { ...HTTP, tryTimeout: "10s" }
    const report = await bed.run(toxic({ url: server.origin.replace("http", "https"), http }, `t${++name}`))
    expect(report).toMatchObject({
      status: "failed",
      error: { code: "RETRY_EXHAUSTED", message: expect.stringContaining("no connection in time") as string },
    })
  })

  it("with an expired certificate are refused at once", async () => {
    const server = await tlsServer("expired")
    const http = { ...HTTP, ca: certificate("ca.pem") }
    const report = await bed.run(toxic({ url: server.origin, http }, `t${++name}`))
    expect(report).toMatchObject({
      status: "failed",
      error: { code: "TLS", message: expect.stringContaining("CERT_HAS_EXPIRED") as string },
    })
    expect(server.accepted).toBe(1)
  })
})
