import type { IncomingHttpHeaders } from "node:http"
import type { LookupFunction } from "node:net"
import { inspect } from "node:util"
import { afterEach, describe, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import { seededRandom } from "../../src/core/random.ts"
import { systemClock } from "../../src/core/clock.ts"
import {
  attemptsOf,
  budgetPerKey,
  httpClient,
  isPublicAddress,
  type HttpClient,
  type HttpClientOptions,
  type HttpEvent,
  type PolicyPorts,
  type SuppressedFailure,
} from "../../src/resilience/index.ts"
import { until } from "../faults/waiting.ts"
import { endServers, httpServer, rawServer } from "./servers.ts"

const clients: { close(): Promise<void> }[] = []

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  await endServers()
})

/** Waits are noted, not waited for. */
function hurried(waits: number[] = []): PolicyPorts {
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> => {
    // Time-outs of tries are far away; only waits between tries are skipped.
    if (ms > 100_000) return systemClock.sleep(ms, signal)
    waits.push(ms)
    return Promise.resolve()
  }
  return { clock: { ...systemClock, sleep }, random: seededRandom(1) }
}

function client(options: HttpClientOptions & { suppress?: undefined } = {}): HttpClient {
  const made = httpClient(options)
  clients.push(made)
  return made
}

async function rejection(promise: Promise<unknown>): Promise<SpillwayError> {
  try {
    await promise
  } catch (error) {
    expect(error).toBeInstanceOf(SpillwayError)
    return error as SpillwayError
  }
  throw new Error("it succeeded")
}

describe("retries", () => {
  it("repeats what is safe to repeat, and tells of it", async () => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(requests < 3 ? 500 : 200).end("there")
    })
    const events: HttpEvent[] = []
    const made = client({ ports: hurried(), onEvent: (event) => events.push(event) })
    const answer = await made.request({ url: origin })
    expect(answer.text()).toBe("there")
    expect(answer.attempts).toBe(3)
    expect(made.counts).toEqual({ calls: 1, attempts: 3, redirects: 0, suppressed: 0 })
    expect(events.map(({ type }) => type)).toEqual(["retry", "retry"])
  })

  it("ends with every attempt, each with its code", async () => {
    let requests = 0
    const { origin } = await rawServer((socket) => {
      requests += 1
      if (requests % 2 === 0) socket.resetAndDestroy()
      else socket.end("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
    })
    const error = await rejection(client({ ports: hurried() }).request({ url: origin }))
    expect(error).toMatchObject({ code: "RETRY_EXHAUSTED", class: "terminal", cause: { code: "HTTP_5XX" } })
    expect(attemptsOf(error).map(({ error_code }) => error_code)).toEqual([
      "HTTP_5XX",
      "NETWORK",
      "HTTP_5XX",
      "NETWORK",
      "HTTP_5XX",
    ])
  })

  it("sends a POST that may have been carried out once, unless it is said to be safe", async () => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(500).end()
    })
    const made = client({ ports: hurried(), retry: { attempts: 3 } })
    expect(await rejection(made.request({ url: origin, method: "POST", body: "x" }))).toMatchObject({
      code: "HTTP_5XX",
    })
    expect(requests).toBe(1)
    await rejection(made.request({ url: origin, method: "POST", body: "x", idempotent: true }))
    expect(requests).toBe(4)
    await rejection(made.request({ url: origin, method: "POST", body: "x", headers: { "Idempotency-Key": "1" } }))
    expect(requests).toBe(7)
  })

  it("repeats a POST that was never sent", async () => {
    const { port } = await rawServer(() => undefined)
    await endServers()
    const post = client({ ports: hurried() }).request({ url: `http://localhost:${port}`, method: "POST", body: "x" })
    expect(attemptsOf(await rejection(post))).toHaveLength(5)
  })

  it("waits at least as long as it is asked to, and not at all when that is an hour", async () => {
    let asked = "7"
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(requests === 2 ? 200 : 429, { "retry-after": asked }).end()
    })
    const waits: number[] = []
    const made = client({ ports: hurried(waits) })
    await made.request({ url: origin })
    expect(waits).toHaveLength(1)
    expect(waits[0]).toBeGreaterThanOrEqual(7_000)
    asked = "3600"
    const error = await rejection(made.request({ url: origin }))
    expect(error).toMatchObject({ code: "HTTP_429", class: "throttled" })
    expect(Date.parse(String(error.context["retryAt"]))).toBeGreaterThan(Date.now() + 3_500_000)
    expect(requests).toBe(3)
  })

  it("stops calling a host that always fails, and shares the budget of retries", async () => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(500).end()
    })
    const shared = budgetPerKey({ reserve: 3, ratio: 0 })
    const options = { ports: hurried(), budget: shared, breaker: { minimumCalls: 8 } } as const
    const codes: string[] = []
    for (const made of [client(options), client(options)])
      for (let n = 0; n < 3; n++) codes.push((await rejection(made.request({ url: origin }))).code)
    expect(codes.slice(0, 3)).toEqual(["RETRY_BUDGET", "RETRY_BUDGET", "RETRY_BUDGET"])
    expect(requests).toBe(9)
    const made = client({ ...options, retry: false })
    for (let n = 0; n < 8; n++) await rejection(made.request({ url: origin }))
    expect(await rejection(made.request({ url: origin }))).toMatchObject({ code: "CIRCUIT_OPEN" })
    expect(requests).toBe(17)
    expect([...made.breakers].map(([host, { state }]) => [host, state])).toEqual([[new URL(origin).host, "open"]])
  })
})

describe("giving up", () => {
  it("leaves no connection, whether it waits for headers or for the body", async () => {
    for (const answer of ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"]) {
      let requests = 0
      const server = await rawServer((socket) => {
        requests += 1
        socket.write(answer)
      })
      const controller = new AbortController()
      const running = client().request({ url: server.origin, signal: controller.signal })
      running.catch(() => undefined)
      await until("the request is there", () => requests === 1)
      controller.abort()
      expect(await rejection(running)).toMatchObject({ code: "CANCELLED", class: "cancelled" })
      await until("the connection is closed", () => server.open.size === 0)
      expect(requests).toBe(1)
    }
  })

  it("leaves no connection when a stream is given up, discarded or left early", async () => {
    const server = await rawServer((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"))
    const made = client()
    const controller = new AbortController()
    const stream = await made.open({ url: server.origin, signal: controller.signal })
    const seen: string[] = []
    const reading = (async () => {
      for await (const chunk of stream.body) {
        seen.push(Buffer.from(chunk).toString())
        controller.abort()
      }
    })()
    expect(await rejection(reading)).toMatchObject({ code: "CANCELLED" })
    expect(seen).toEqual(["half"])
    const discarded = await made.open({ url: server.origin })
    discarded.discard()
    const left = await made.open({ url: server.origin })
    for await (const _chunk of left.body) break
    await until("the connections are closed", () => server.open.size === 0)
  })

  it("closes kept connections", async () => {
    const server = await httpServer((_request, response) => response.end("fine"))
    const made = client()
    await made.request({ url: server.origin })
    expect(server.open.size).toBe(1)
    await made.close()
    await until("the connection is closed", () => server.open.size === 0)
  })
})

describe("secrets", () => {
  const SECRETS = ["hunter2hunter2", "s3cr3t-user", "tok-abcdef", "key-123456", "cookie-98765", "sig-77777"]

  it("does not send credentials to another host, and says why that one refuses", async () => {
    const seen: IncomingHttpHeaders[] = []
    const other = await httpServer((request, response) => {
      seen.push(request.headers)
      response.writeHead(401).end()
    })
    const { origin } = await httpServer((request, response) => {
      seen.push(request.headers)
      response.writeHead(307, { location: request.url === "/" ? "/second" : `${other.origin}/third` }).end()
    })
    const made = client({ headers: { "X-Api-Key": "key-123456", accept: "text/plain" } })
    const url = new URL(origin)
    url.username = "s3cr3t-user"
    url.password = "hunter2hunter2"
    const error = await rejection(made.request({ url, headers: { cookie: "cookie-98765" } }))
    const sent = seen.map((headers) => [headers.authorization, headers.cookie, headers["x-api-key"], headers.accept])
    const basic = `Basic ${Buffer.from("s3cr3t-user:hunter2hunter2").toString("base64")}`
    expect(sent).toEqual([
      [basic, "cookie-98765", "key-123456", "text/plain"],
      [basic, "cookie-98765", "key-123456", "text/plain"],
      [undefined, undefined, undefined, "text/plain"],
    ])
    expect(error).toMatchObject({ code: "AUTH" })
    expect(error.hint).toContain("credentials were not sent on")
  })

  it("does not send the client's own headers to another host than its base", async () => {
    const seen: IncomingHttpHeaders[] = []
    const answer = (request: { headers: IncomingHttpHeaders }, response: { end(): void }): void => {
      seen.push(request.headers)
      response.end()
    }
    const [home, away] = [await httpServer(answer), await httpServer(answer)]
    const made = client({ baseUrl: home.origin, headers: { "x-api-key": "key-123456" } })
    await made.request({ url: "/page" })
    await made.request({ url: away.origin })
    expect(seen.map((headers) => headers["x-api-key"])).toEqual(["key-123456", undefined])
  })

  it("does not hand a body on to another host, and makes a GET of a POST where it has to", async () => {
    const seen: string[] = []
    const other = await httpServer((request, response) => {
      seen.push(`${request.method} ${request.headers["content-type"]}`)
      response.end()
    })
    let status = 307
    const { origin } = await httpServer((_request, response) =>
      response.writeHead(status, { location: other.origin }).end(),
    )
    const post = { url: origin, method: "POST", body: "client_secret=x", headers: { "content-type": "text/plain" } }
    expect(await rejection(client().request(post))).toMatchObject({ code: "CONFIG" })
    status = 303
    await client().request(post)
    expect(seen).toEqual(["GET undefined"])
  })

  it("of a body are masked where the server repeats them", async () => {
    const { origin } = await httpServer((request, response) => {
      request.on("data", (piece: Buffer) => response.writeHead(400).end(`no: ${piece.toString()}`))
    })
    for (const body of ['{"a":[{"client_secret":"tok-abcdef"}]}', "grant_type=x&client_secret=tok-abcdef"]) {
      const error = await rejection(client().request({ url: origin, method: "POST", body }))
      expect(error.message).toContain("no: ")
      expect(error.message).not.toContain("tok-abcdef")
    }
  })

  it("shows none in any error or event, even when the server repeats them", async () => {
    const events: HttpEvent[] = []
    let status = 400
    const { origin } = await httpServer((request, response) => {
      if (status === 302) response.setHeader("location", `/again?token=tok-abcdef&n=${events.length}`)
      response.writeHead(status).end(`${JSON.stringify(request.headers)} ${request.url} ${SECRETS.join(" ")}`)
    })
    const made = client({ ports: hurried(), onEvent: (event) => events.push(event) })
    const url = `${origin.replace("//", "//s3cr3t-user:hunter2hunter2@")}/a?access_token=tok-abcdef&X-Amz-Signature=sig-77777`
    const headers = { "x-api-key": "key-123456", cookie: "cookie-98765" }
    const errors: unknown[] = []
    for (status of [400, 401, 404, 429, 500, 302])
      errors.push(await made.request({ url, headers }).catch((error: unknown) => error))
    const bad = url.replace("http:", "ftp:")
    errors.push(await rejection(made.request({ url: bad, headers })))
    errors.push(await rejection(made.request({ url: url.replace(/:\d+\//, ":99999/"), headers })))
    const told = inspect([errors, events], { depth: 20, showHidden: true })
    for (const secret of SECRETS) expect(told).not.toContain(secret)
    expect(told).not.toContain(Buffer.from("s3cr3t-user:hunter2hunter2").toString("base64"))
    expect(told).toContain("/a?access_token=***")
  })
})

describe("public addresses only", () => {
  const resolvingTo =
    (...addresses: string[]): LookupFunction =>
    (_host, _options, callback) =>
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
      )

  it.each([
    "http://127.0.0.1",
    "http://2130706433",
    "http://0x7f.1",
    "http://[::1]",
    "http://[::ffff:127.0.0.1]",
    "http://169.254.169.254/latest/meta-data",
    "http://10.1.2.3",
    "http://[fd00::1]",
    "http://0.0.0.0",
  ])("refuses %s before connecting", async (url) => {
    const error = await rejection(client({ publicOnly: true }).request({ url }))
    expect(error).toMatchObject({ code: "CONFIG", class: "terminal" })
    expect(error.message).toContain("not a public address")
  })

  it("refuses a name that leads to such an address, also a second time, also among others", async () => {
    const server = await httpServer((_request, response) => response.end("internal"))
    for (const addresses of [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"]]) {
      const made = client({ publicOnly: true, lookup: resolvingTo(...addresses) })
      const error = await rejection(made.request({ url: `http://public.example:${server.port}` }))
      expect(error).toMatchObject({ code: "CONFIG", class: "terminal" })
    }
    expect(server.accepted).toBe(0)
    const allowed = client({ lookup: resolvingTo("127.0.0.1") })
    expect((await allowed.request({ url: `http://public.example:${server.port}` })).text()).toBe("internal")
  })

  it("knows the special ranges", () => {
    const refused =
      "0.1.2.3 10.0.0.1 100.64.0.1 127.255.255.255 169.254.1.1 172.16.0.1 172.31.255.255 192.168.1.1 198.18.0.1 224.0.0.1 255.255.255.255 " +
      "168.63.129.16 :: ::1 fe80::1 fe80::1%eth0 fc00::1 ff02::1 64:ff9b::7f00:1 2002:7f00:1:: 2001:db8::1 2001::1 ::ffff:10.0.0.1 nonsense"
    const allowed = "1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.255.255 93.184.215.14 2606:4700::1111 ::ffff:8.8.8.8"
    expect(refused.split(" ").filter(isPublicAddress)).toEqual([])
    expect(allowed.split(" ").filter((address) => !isPublicAddress(address))).toEqual([])
  })
})

describe("suppression", () => {
  function suppressing(
    rules: NonNullable<HttpClientOptions["suppress"]>,
    events: HttpEvent[],
  ): HttpClient<SuppressedFailure> {
    const made = httpClient({ ports: hurried(), suppress: rules, onEvent: (event) => events.push(event) })
    clients.push(made)
    return made
  }
  const rule = { reason: "moved until spring", expires: "2999-12-31" }

  it("counts and tells of what is expected, without raising, repeating or judging it", async () => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(503).end()
    })
    const events: HttpEvent[] = []
    const expected = { ...rule, pattern: `${origin}/old/*`, status: 503 }
    const made = suppressing([expected], events)
    for (let n = 0; n < 30; n++) {
      const outcome = await made.request({ url: `${origin}/old/${n}` })
      expect(outcome).toMatchObject({ kind: "suppressed", rule: expected, error: { code: "HTTP_5XX" } })
    }
    expect(requests).toBe(30)
    expect(events.every(({ type }) => type === "suppressed")).toBe(true)
    expect(made.suppressions).toEqual([{ rule: expected, suppressed: 30, expired: 0 }])
    expect(made.counts.suppressed).toBe(30)
    expect([...made.breakers.values()].map(({ state }) => state)).toEqual(["closed"])
    expect(await rejection(made.request({ url: `${origin}/new` }))).toMatchObject({ code: "RETRY_EXHAUSTED" })
  })

  it("applies to codes, and no longer when it has expired, which it says", async () => {
    const events: HttpEvent[] = []
    const { port } = await rawServer(() => undefined)
    await endServers()
    const url = `http://localhost:${port}/`
    const live = suppressing([{ ...rule, pattern: "*", code: "NETWORK" }], events)
    expect(await live.request({ url })).toMatchObject({ kind: "suppressed", error: { code: "NETWORK" } })
    const old = suppressing([{ ...rule, pattern: "*", code: ["DNS", "NETWORK"], expires: "2020-01-01" }], events)
    const error = await rejection(old.request({ url }))
    expect(error.hint).toContain("suppressed this until 2020-01-01 (moved until spring)")
    expect(events.map(({ type }) => type)).toContain("suppression-expired")
    expect(old.suppressions[0]).toMatchObject({ suppressed: 0, expired: 5 })
  })

  it("refuses rules with every fault at once", () => {
    const wrong = [
      { ...rule, pattern: "*" },
      { pattern: "", status: 404, reason: " ", expires: "someday" },
    ]
    expect(() => httpClient({ suppress: wrong })).toThrow(
      expect.objectContaining({
        code: "CONFIG",
        message: expect.stringMatching(/rule 1: neither.*rule 2: pattern.*rule 2: reason.*rule 2: expires/) as string,
      }),
    )
  })
})
