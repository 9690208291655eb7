import type { Socket } from "node:net"
import { brotliCompressSync, gzipSync } from "node:zlib"
import { afterEach, describe, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import { httpClient, type HttpClient, type HttpClientOptions, type HttpRequest } from "../../src/resilience/index.ts"
import { until } from "../faults/waiting.ts"
import { certificate, endServers, httpServer, rawServer, tlsServer } from "./servers.ts"

const clients: HttpClient[] = []

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  await endServers()
})

/** Tries once: what is looked at is the single failure. */
function client(options: HttpClientOptions = {}): HttpClient {
  const made = httpClient({ retry: false, ...options, suppress: undefined })
  clients.push(made)
  return made
}

async function failure(
  url: string,
  options: HttpClientOptions = {},
  request: Partial<HttpRequest> = {},
): Promise<SpillwayError> {
  try {
    await client(options).request({ url, ...request })
  } catch (error) {
    expect(error).toBeInstanceOf(SpillwayError)
    const failed = error as SpillwayError
    expect(failed.hint ?? "").not.toBe("")
    expect(failed.where ?? "").not.toBe("")
    return failed
  }
  throw new Error("the request succeeded")
}

/** Answers every request with these bytes; `then` says what becomes of the connection. */
async function answering(text: string | Buffer, then: (socket: Socket) => void = () => undefined): Promise<string> {
  const { origin } = await rawServer((socket) => {
    socket.write(text)
    then(socket)
  })
  return origin
}

const whole = (body: string | Buffer, headers = ""): Buffer =>
  Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${headers}\r\n`),
    Buffer.from(body),
  ])

describe("below HTTP", () => {
  it("DNS: a name that does not exist", async () => {
    expect(await failure("http://no-such-host.invalid/")).toMatchObject({ code: "DNS", class: "transient" })
  })

  it("NETWORK: refused", async () => {
    const { port } = await rawServer(() => undefined)
    await endServers()
    const failed = await failure(`http://localhost:${port}/`)
    expect(failed).toMatchObject({ code: "NETWORK", class: "transient", context: { unsent: true } })
    expect(failed.message).toContain("ECONNREFUSED")
  })

  it("TLS: expired, made for another name, of an unknown authority, and none at all", async () => {
    const ca = certificate("ca.pem")
    const valid = await tlsServer("valid")
    expect((await client({ ca }).request({ url: valid.origin })).text()).toBe("ok")
    const refusals = [
      await failure((await tlsServer("expired")).origin, { ca }),
      await failure((await tlsServer("other")).origin, { ca }),
      await failure(valid.origin),
      await failure((await answering("HTTP/1.1 400 Bad Request\r\n\r\n")).replace("http:", "https:"), { ca }),
    ]
    expect(refusals.map(({ code, class: as }) => `${code} ${as}`)).toEqual(Array(4).fill("TLS terminal"))
    expect(refusals[0]?.message).toContain("expired")
  })

  it("TIMEOUT: a handshake that never comes", async () => {
    const { port } = await rawServer(() => undefined)
    const failed = await failure(`https://localhost:${port}/`, { connectTimeout: 200 })
    expect(failed).toMatchObject({ code: "TIMEOUT", class: "transient", context: { unsent: true } })
  })

  it("NETWORK: reset before, and in the middle of, the answer", async () => {
    const early = await rawServer((socket) => socket.resetAndDestroy())
    expect(await failure(early.origin)).toMatchObject({
      code: "NETWORK",
      class: "transient",
      context: { unsent: false },
    })
    const { origin } = await rawServer((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", () => socket.resetAndDestroy())
    })
    expect(await failure(origin)).toMatchObject({ code: "NETWORK", class: "transient" })
  })

  it("NETWORK: something else than HTTP, and chunks that are none", async () => {
    expect(await failure(await answering("SSH-2.0-OpenSSH_9\r\n"))).toMatchObject({ code: "NETWORK" })
    const chunks = await answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nnot a chunk\r\n")
    expect(await failure(chunks)).toMatchObject({ code: "NETWORK", class: "transient" })
  })

  it("TIMEOUT: accepted, then silence", async () => {
    const failed = await failure(await answering(""), { headersTimeout: 200 })
    expect(failed).toMatchObject({ code: "TIMEOUT", class: "transient", message: "no answer in time" })
  })

  it("TIMEOUT: a body that stops", async () => {
    const url = await answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    expect(await failure(url, { bodyTimeout: 200 })).toMatchObject({
      code: "TIMEOUT",
      message: "the body stopped coming",
    })
  })

  it("TIMEOUT: a body that drips", async () => {
    let dripping: NodeJS.Timeout | undefined
    const url = await answering("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", (socket) => {
      dripping = setInterval(() => socket.write("."), 20)
    })
    const failed = await failure(url, { bodyTimeout: "10s", tryTimeout: 300 })
    clearInterval(dripping)
    expect(failed).toMatchObject({ code: "TIMEOUT", class: "transient", context: { timeoutMs: 300 } })
  })
})

describe("the status", () => {
  it.each([
    [400, "HTTP_4XX", "terminal"],
    [401, "AUTH", "terminal"],
    [403, "AUTH", "terminal"],
    [404, "HTTP_4XX", "terminal"],
    [407, "AUTH", "terminal"],
    [408, "HTTP_4XX", "transient"],
    [410, "HTTP_4XX", "terminal"],
    [425, "HTTP_4XX", "transient"],
    [429, "HTTP_429", "throttled"],
    [500, "HTTP_5XX", "transient"],
    [502, "HTTP_5XX", "transient"],
    [503, "HTTP_5XX", "transient"],
    [599, "HTTP_5XX", "transient"],
  ])("%i is %s, %s", async (status, code, as) => {
    const { origin } = await httpServer((_request, response) =>
      response.writeHead(status).end("so  it\n\u001b\u0007\u009bis"),
    )
    const failed = await failure(origin)
    expect(failed).toMatchObject({ code, class: as, context: { status } })
    expect(failed.message).toContain("so it is")
  })

  it("takes Retry-After in seconds and as a date on the server's clock", async () => {
    const later = (date: string, retryAfter: string): Promise<SpillwayError> =>
      httpServer((_request, response) => {
        response.sendDate = false
        response.writeHead(503, { "retry-after": retryAfter, date }).end()
      }).then(({ origin }) => failure(origin))
    // The server's clock is years behind: the wait is the difference on that clock.
    const date = "Sun, 06 Nov 1994 08:49:37 GMT"
    expect(await later(date, "Sun, 06 Nov 1994 08:51:07 GMT")).toMatchObject({
      code: "HTTP_5XX",
      class: "throttled",
      context: { retryAfterMs: 90_000 },
    })
    expect(await later(date, "Sunday, 06-Nov-94 08:51:07 GMT")).toMatchObject({ context: { retryAfterMs: 90_000 } })
    expect(await later(date, "Sun Nov  6 08:51:07 1994")).toMatchObject({ context: { retryAfterMs: 90_000 } })
    expect(await later(date, "120")).toMatchObject({ context: { retryAfterMs: 120_000 } })
    expect(await later(date, "Sun, 06 Nov 1994 08:00:00 GMT")).toMatchObject({ context: { retryAfterMs: 0 } })
    expect((await later(date, "later")).context["retryAfterMs"]).toBeUndefined()
  })
})

describe("the body", () => {
  it("RESOURCE: too large, announced or not, or only when decompressed", async () => {
    const big = "x".repeat(5_000)
    const chunked = `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1388\r\n${big}\r\n0\r\n\r\n`
    for (const answer of [whole(big), chunked, whole(gzipSync(big), "content-encoding: gzip\r\n")])
      expect(await failure(await answering(answer), { maxBodyBytes: 4_999 })).toMatchObject({
        code: "RESOURCE",
        class: "terminal",
        context: { maxBodyBytes: 4_999 },
      })
    const { body } = await client({ maxBodyBytes: 5_000 }).request({ url: await answering(whole(big)) })
    expect(body.toString()).toBe(big)
  })

  it("RESOURCE: headers without end", async () => {
    const url = await answering(`HTTP/1.1 200 OK\r\nx-long: ${"x".repeat(100_000)}\r\n\r\n`)
    expect(await failure(url)).toMatchObject({ code: "RESOURCE", class: "terminal" })
  })

  it("closes the connection over which too much was announced", async () => {
    const server = await rawServer((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"))
    expect(await failure(server.origin)).toMatchObject({ code: "RESOURCE" })
    await until("the connection is closed", () => server.open.size === 0)
  })

  it("RESOURCE: a gigabyte that came as a megabyte, without taking the room", async () => {
    const part = gzipSync(Buffer.alloc(1 << 24))
    const bomb = Buffer.concat(Array.from({ length: 64 }, () => part))
    expect(bomb.length).toBeLessThan(1_100_000)
    const url = await answering(whole(bomb, "content-encoding: gzip\r\n"))
    const before = process.memoryUsage().rss
    let peak = before
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 2)
    const failed = await failure(url, { maxBodyBytes: 10_000_000 })
    clearInterval(watch)
    expect(failed.code).toBe("RESOURCE")
    expect(peak - before).toBeLessThan(100_000_000)
  })

  it("RESOURCE: out of all proportion when decompressed, where nothing else limits it", async () => {
    const many = gzipSync(Buffer.alloc(20 << 20))
    const url = await answering(whole(many, "content-encoding: gzip\r\n"))
    const read = async (options: HttpClientOptions): Promise<number> => {
      const { body } = await client(options).open({ url })
      let bytes = 0
      for await (const chunk of body) bytes += chunk.byteLength
      return bytes
    }
    await expect(read({})).rejects.toMatchObject({
      code: "RESOURCE",
      class: "terminal",
      context: { maxExpansion: 200 },
    })
    expect(await read({ maxExpansion: Infinity })).toBe(20 << 20)
    const few = await answering(whole(gzipSync(Buffer.alloc(16 << 20)), "content-encoding: gzip\r\n"))
    expect((await client().request({ url: few })).body.length).toBe(16 << 20)
  })

  it("NETWORK: cut short, plain and compressed", async () => {
    const plain = await answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", (socket) => socket.end())
    expect(await failure(plain)).toMatchObject({ code: "NETWORK", class: "transient" })
    const half = gzipSync("all of it").subarray(0, -6)
    expect(await failure(await answering(whole(half, "content-encoding: gzip\r\n")))).toMatchObject({
      code: "NETWORK",
      message: "the body was cut short",
    })
    const chunked = await answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", (socket) =>
      socket.end(),
    )
    expect(await failure(chunked)).toMatchObject({ code: "NETWORK", class: "transient" })
  })

  it("DECODE: compression that is damaged, unknown, or piled up", async () => {
    for (const encoding of ["gzip", "br", "zstd", "deflate", "lzma", "gzip, gzip, gzip, gzip"])
      expect(await failure(await answering(whole("surely not", `content-encoding: ${encoding}\r\n`)))).toMatchObject({
        code: "DECODE",
        class: "terminal",
      })
  })

  it("reads what is compressed, also twice", async () => {
    const twice = whole(gzipSync(brotliCompressSync("fine")), "content-encoding: br, gzip\r\n")
    expect((await client().request({ url: await answering(twice) })).text()).toBe("fine")
  })

  it("DECODE: JSON that is broken, text that is not UTF-8, another content type", async () => {
    const json = "content-type: application/problem+json; charset=utf-8\r\n"
    const good = await client().request({ url: await answering(whole('{"a":1}', json)), expect: "json" })
    expect(good.json()).toEqual({ a: 1 })
    const broken = await client().request({ url: await answering(whole('{"password": hunter2', json)), expect: "json" })
    expect(() => broken.json()).toThrow(expect.objectContaining({ code: "DECODE", class: "terminal" }))
    expect(() => broken.json()).not.toThrow(/hunter2/)
    const latin = await client().request({ url: await answering(whole(Buffer.from([0xff, 0xfe]))) })
    expect(() => latin.text()).toThrow(expect.objectContaining({ code: "DECODE" }))
    const page = await answering(whole("<html>", "content-type: text/html\r\n"))
    const failed = await failure(page, {}, { expect: "json" })
    expect(failed).toMatchObject({ code: "DECODE", class: "terminal" })
    expect(failed.message).toContain("text/html")
  })

  it("takes a HEAD and a 304 as what they are, whatever they announce", async () => {
    const head = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\ncontent-encoding: gzip\r\n\r\n"
    expect((await client().request({ url: await answering(head), method: "HEAD" })).body.length).toBe(0)
    const unchanged = await answering("HTTP/1.1 304 Not Modified\r\ncontent-encoding: gzip\r\n\r\n")
    expect((await client().request({ url: unchanged })).status).toBe(304)
  })
})

describe("redirects and addresses", () => {
  it("CONFIG: in a circle, and without end", async () => {
    const circle = await httpServer((request, response) => {
      response.writeHead(302, { location: request.url === "/a" ? "/b" : "/a" }).end()
    })
    const round = await failure(`${circle.origin}/a`)
    expect(round).toMatchObject({ code: "CONFIG", class: "terminal" })
    expect(round.message).toContain("circle")
    let requests = 0
    const endless = await httpServer((request, response) => {
      requests += 1
      response.writeHead(302, { location: `/${Number(request.url?.slice(1)) + 1}` }).end()
    })
    expect((await failure(`${endless.origin}/1`)).message).toContain("more than 10 redirects")
    expect(requests).toBe(11)
    // Each answer was read to its end, so connections were used again.
    expect(endless.accepted).toBeLessThan(5)
  })

  it.each(["ftp://host/x", "file:///etc/passwd", "//nowhere", "not an address", "javascript:alert(1)"])(
    "CONFIG: %s",
    async (url) => {
      await expect(() => client().request({ url })).rejects.toMatchObject({ code: "CONFIG" })
    },
  )

  it("CONFIG: a header that would smuggle another", async () => {
    const { origin } = await httpServer((_request, response) => response.end())
    const failed = await failure(origin, {}, { headers: { "x-a": "1\r\nx-b: 2" } })
    expect(failed).toMatchObject({ code: "CONFIG", class: "terminal" })
  })
})
