import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { createHash } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Output, type Stream } from "../../src/cli/output.ts"
import { runUrlView } from "../../src/cli/run-url-view.ts"
import { systemClock } from "../../src/core/clock.ts"
import { SpillwayError } from "../../src/core/errors.ts"
import { manualClock } from "../../src/testing/clock.ts"
import { endServers, httpServer, rawServer, tlsServer } from "../resilience/servers.ts"
import { envelope, projectFolder, spillway, SPILLWAY, type TestProject } from "./command-line.ts"
import { hurriedClock, runUrl, type Called, type CallOptions } from "./run-url-call.ts"

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "spillway-run-url-"))
})

afterEach(async () => {
  await endServers()
  await rm(directory, { recursive: true, force: true })
})

const call = (args: readonly string[], options: CallOptions = {}): Promise<Called> =>
  runUrl(args, { directory, ...options })

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex")

async function answering(status: number, body = "", headers: Record<string, string> = {}) {
  const server = await httpServer((_request, response) => response.writeHead(status, headers).end(body))
  return server.origin
}

const dataOf = (called: Called): Record<string, unknown> =>
  envelope({ code: called.code, stdout: called.stdout.toString(), stderr: called.stderr }).data as Record<
    string,
    unknown
  >

describe("a body", () => {
  it("goes to standard output byte by byte, and the summary to standard error", async () => {
    const body = Buffer.from([0xff, 0x00, 0xfe, 0x0a, 0x80])
    const { origin } = await httpServer((_request, response) => response.end(body))
    const { code, stdout, stderr } = await call(["--url", origin])
    expect({ code, stdout }).toEqual({ code: 0, stdout: body })
    expect(stderr).toMatch(/^200 {2}5 bytes in .*, 1 try\nsha256 [0-9a-f]{64}\n$/)
    expect(stderr).toContain(sha256(body))
  })

  it("goes to a file that replaces the one before, and leaves nothing beside it", async () => {
    await writeFile(join(directory, "a.json"), "old")
    const { code, stdout } = await call(["--url", await answering(200, '{"a":1}'), "--out", "a.json"])
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: "" })
    expect(await readdir(directory)).toEqual(["a.json"])
    expect(await readFile(join(directory, "a.json"), "utf8")).toBe('{"a":1}')
  })

  it("is told of as JSON", async () => {
    const url = await answering(200, "fine", { "content-type": "text/plain" })
    const data = dataOf(await call(["--url", url, "--out", "a.txt", "--json"]))
    expect(data).toMatchObject({
      status: 200,
      url: `${url}/`,
      contentType: "text/plain",
      bytes: 4,
      sha256: sha256("fine"),
      out: "a.txt",
      tries: 1,
      resumed: 0,
      failedTries: [],
      redirects: [],
      suppressed: null,
    })
  })

  it("is kept from a terminal when it is no text", async () => {
    const { origin } = await httpServer((_request, response) => response.end(Buffer.from([1, 0, 2])))
    const { code, stdout, stderr } = await call(["--url", origin], { isTerminal: true })
    expect({ code, bytes: stdout.length }).toEqual({ code: 2, bytes: 0 })
    expect(stderr).toContain("hint: write it to a file: --out FILE")
    const text = await call(["--url", await answering(200, "fine")], { isTerminal: true })
    expect(text.stdout.toString()).toBe("fine\n")
  })
})

describe("a request", () => {
  it("has the method, headers and data that are asked for", async () => {
    const seen: { method: string | undefined; headers: IncomingHttpHeaders; body: string }[] = []
    const { origin } = await httpServer((request, response) => {
      let body = ""
      request.on("data", (piece: Buffer) => (body += piece.toString("latin1")))
      request.on("end", () => {
        seen.push({ method: request.method, headers: request.headers, body })
        response.end()
      })
    })
    await writeFile(join(directory, "data.txt"), "a=1&b=2")
    const bytes = Buffer.from([0xff, 0x00, 0xfe])
    await writeFile(join(directory, "data.bin"), bytes)
    await call(["--url", origin, "--header", "X-One: 1", "--header", "x-two:2", "--data", '{"a":1}'])
    await call(["--url", origin, "--method", "put", "--data", "@data.txt"])
    await call(["--url", origin, "--data", "[]", "--header", "content-type: text/plain"])
    await call(["--url", origin.replace("//", "//me:secret@")])
    await call(["--url", origin, "--data", "@data.bin"])
    expect(seen.map(({ method, body, headers }) => [method, body, headers["content-type"]])).toEqual([
      ["POST", '{"a":1}', "application/json"],
      ["PUT", "a=1&b=2", "application/x-www-form-urlencoded"],
      ["POST", "[]", "text/plain"],
      ["GET", "", undefined],
      ["POST", bytes.toString("latin1"), "application/octet-stream"],
    ])
    expect(seen[0]?.headers).toMatchObject({ "x-one": "1", "x-two": "2", "accept-encoding": "identity" })
    expect(seen[3]?.headers.authorization).toBe(`Basic ${Buffer.from("me:secret").toString("base64")}`)
  })

  it("that is not safe to repeat is sent once", async () => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(500).end()
    })
    expect((await call(["--url", origin, "--data", "x"])).code).toBe(5)
    expect(requests).toBe(1)
    expect((await call(["--url", origin, "--data", "x", "--header", "idempotency-key: 7"])).code).toBe(5)
    expect(requests).toBe(6)
  })
})

describe("a status", () => {
  it.each([
    [500, 5, "HTTP_5XX", 3],
    [503, 5, "HTTP_5XX", 3],
    [404, 4, "HTTP_4XX", 1],
    [410, 4, "HTTP_4XX", 1],
    [400, 1, "HTTP_4XX", 1],
    [401, 2, "AUTH", 1],
    [403, 2, "AUTH", 1],
  ])("%i exits %i", async (status, exit, error, tries) => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(status).end("so it is")
    })
    const { code, stdout, stderr } = await call(["--url", `${origin}/x`, "--retries", "2", "--out", "x"])
    expect({ code, stdout: stdout.toString(), requests }).toEqual({ code: exit, stdout: "", requests: tries })
    expect(stderr).toContain(`error[${error}]: `)
    expect(stderr).toContain(`the server answered ${status}: so it is\n  --> GET ${origin}/x\nhint: `)
    expect(stderr.match(/^try \d failed: /gm) ?? []).toHaveLength(tries - 1)
    expect(await readdir(directory)).toEqual([])
  })

  it("500, then fine: the tries and waits are told", async () => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(requests < 3 ? 500 : 200).end("there")
    })
    const waits: number[] = []
    const { code, stdout, stderr } = await call(["--url", origin], { clock: hurriedClock(waits) })
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: "there" })
    expect(stderr).toMatch(
      /^try 1 failed: HTTP_5XX: the server answered 500: there; again in \d+ ms\ntry 2 failed: .*\n200 {2}5 bytes in .*, 3 tries\n/,
    )
    expect(waits).toHaveLength(2)
  })

  it("429 is waited for as long as the server asks", async () => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(requests === 1 ? 429 : 200, { "retry-after": "7" }).end()
    })
    const waits: number[] = []
    const { code, stderr } = await call(["--url", origin], { clock: hurriedClock(waits) })
    expect(code).toBe(0)
    expect(waits).toHaveLength(1)
    expect(waits[0]).toBeGreaterThanOrEqual(7_000)
    expect(stderr).toContain("; again in 7.0 s, as the server asks")
  })

  it("429 with a pause that is too long says when to come back", async () => {
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(429, { "retry-after": "3600" }).end()
    })
    const { code, stderr } = await call(["--url", origin])
    expect({ code, requests }).toEqual({ code: 5, requests: 1 })
    expect(stderr).toContain("error[HTTP_429]: ")
    const [, at = ""] = /hint: call again after (\S+)/.exec(stderr) ?? []
    const away = Date.parse(at) - Date.now()
    expect(away).toBeGreaterThan(3_500_000)
    expect(away).toBeLessThan(3_700_000)
  })
})

describe("what cannot be reached or read", () => {
  it.each([
    ["not an address", "the address cannot be read"],
    ["http://host:99999/", "the address cannot be read"],
    ["ftp://host/x", "addresses that begin with ftp: cannot be fetched"],
    ["file:///etc/passwd", "addresses that begin with file: cannot be fetched"],
  ])("%s exits 2", async (url, message) => {
    const { code, stderr } = await call(["--url", url])
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error\[CONFIG\]: .*\n {2}--> .*\nhint: .*https/)
    expect(stderr).toContain(message)
  })

  it("a host that is not there exits 5", async () => {
    const { port } = await rawServer(() => undefined)
    await endServers()
    const refused = await call(["--url", `http://localhost:${port}/`, "--retries", "1"])
    expect(refused.code).toBe(5)
    expect(refused.stderr).toMatch(
      /^error\[NETWORK\]: localhost:\d+: gave up after 2 attempts .* ECONNREFUSED|^try 1 failed: NETWORK: no connection \(ECONNREFUSED\)/,
    )
    const unknown = await call(["--url", "http://no-such-host.invalid/", "--retries", "1"])
    expect(unknown.code).toBe(5)
    expect(unknown.stderr).toContain("error[DNS]: no-such-host.invalid: gave up after 2 attempts")
    expect(unknown.stderr).toContain("hint: check the spelling of the host name")
  })

  it("certificates that are expired, made for another name, or of nobody known exit 5 at once", async () => {
    const ca = fileURLToPath(new URL("../resilience/certificates/ca.pem", import.meta.url))
    const [valid, expired, other] = await Promise.all([tlsServer("valid"), tlsServer("expired"), tlsServer("other")])
    const run = (origin: string, env = {}) => spillway(["run-url", "--url", origin], env, directory)
    const trusting = { NODE_EXTRA_CA_CERTS: ca }
    const [fine, late, wrong, unknown] = await Promise.all([
      run(valid.origin, trusting),
      run(expired.origin, trusting),
      run(other.origin, trusting),
      run(valid.origin),
    ])
    expect(fine).toMatchObject({ code: 0, stdout: "ok" })
    for (const refused of [late, wrong, unknown]) {
      expect(refused).toMatchObject({ code: 5, stdout: "" })
      expect(refused.stderr).toMatch(/^error\[TLS\]: no trusted encrypted connection: /)
      expect(refused.stderr).toContain("hint: check the certificate's dates, names and issuer")
    }
    expect(late.stderr).toContain("CERT_HAS_EXPIRED")
  })

  it("silence exits 5, before the answer and within it", async () => {
    for (const answer of ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"]) {
      const { origin } = await rawServer((socket) => socket.write(answer))
      const { code, stderr } = await call(["--url", origin, "--timeout", "200ms", "--retries", "0", "--out", "x"])
      expect(code).toBe(5)
      expect(stderr).toContain("error[TIMEOUT]: ")
      expect(await readdir(directory)).toEqual([])
    }
  })

  it("takes no longer than --max-time, also when the body drips", async () => {
    let dripping: NodeJS.Timeout | undefined
    const { origin } = await rawServer((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
      dripping = setInterval(() => socket.write("."), 20)
    })
    const { code, stderr } = await call(["--url", origin, "--max-time", "500ms", "--out", "x"], { clock: systemClock })
    clearInterval(dripping)
    expect(code).toBe(5)
    expect(stderr).toContain("error[TIMEOUT]: ")
    expect(stderr).toContain("hint: raise --max-time")
    expect(await readdir(directory)).toEqual([])
  })

  it("redirects in a circle exit 2", async () => {
    const { origin } = await httpServer((request, response) => {
      response.writeHead(302, { location: request.url === "/a" ? "/b" : "/a" }).end()
    })
    const { code, stderr } = await call(["--url", `${origin}/a`])
    expect(code).toBe(2)
    expect(stderr).toContain(`redirect to ${origin}/b\n`)
    expect(stderr).toContain("error[CONFIG]: the redirects lead in a circle")
  })

  it("a gigabyte that came as a megabyte exits 5, without taking the room", async () => {
    const part = gzipSync(Buffer.alloc(1 << 24))
    const bomb = Buffer.concat(Array.from({ length: 64 }, () => part))
    const { origin } = await httpServer((_request, response) =>
      response.writeHead(200, { "content-encoding": "gzip" }).end(bomb),
    )
    const before = process.memoryUsage().rss
    let peak = before
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 2)
    const { code, stderr } = await call(["--url", origin, "--out", "x"])
    clearInterval(watch)
    expect(code).toBe(5)
    expect(stderr).toContain("error[RESOURCE]: the body grows to more than 200 times its size")
    expect(stderr).toContain("hint: if it is meant to be so, say with --max-bytes how large it may become")
    expect(peak - before).toBeLessThan(150_000_000)
    expect(await readdir(directory)).toEqual([])
    const small = await httpServer((_request, response) =>
      response.writeHead(200, { "content-encoding": "gzip" }).end(Buffer.concat([part, part])),
    )
    const args = ["--url", small.origin, "--out", "x", "--max-bytes"]
    expect((await call([...args, String(1 << 25)])).code).toBe(0)
    const over = await call([...args, String((1 << 25) - 1)])
    expect(over.code).toBe(5)
    expect(over.stderr).toContain("hint: raise --max-bytes")
  })

  it("an output that cannot be is refused before anything is sent", async () => {
    const server = await httpServer((_request, response) => response.end())
    const folder = await call(["--url", server.origin, "--out", directory])
    expect(folder.code).toBe(2)
    expect(folder.stderr).toContain("error[CONFIG]: the output is a folder")
    const missing = await call(["--url", server.origin, "--out", "no/such/folder/x"])
    expect(missing.code).toBe(5)
    expect(missing.stderr).toContain("error[RESOURCE]: the output cannot be written (ENOENT)")
    expect(server.accepted).toBe(0)
  })
})

describe("--public-only", () => {
  it.each([
    "http://127.0.0.1",
    "http://localhost",
    "http://[::1]",
    "http://169.254.169.254/latest/meta-data",
    "http://10.1.2.3",
  ])("refuses %s", async (url) => {
    const { code, stderr } = await call(["--url", url, "--public-only"])
    expect(code).toBe(2)
    expect(stderr).toContain("is not a public address")
  })
})

describe("flags", () => {
  it("are refused all at once, without their secrets", async () => {
    const args = ["--url", "http://host/", "--retries", "x", "--timeout", "30", "--max-time", "0s", "--max-bytes", "-1"]
    const { code, stderr } = await call([...args, "--header", "Authorization hunter2hunter2", "--json"])
    expect(code).toBe(2)
    expect(stderr).toBe("")
    const plain = await call([...args, "--header", "Authorization hunter2hunter2"])
    for (const flag of ["--retries x", "--timeout 30", "--max-time 0s", "--max-bytes -1", "--header no. 1"])
      expect(plain.stderr).toContain(flag)
    expect(plain.stderr).not.toContain("hunter2")
    const both = await call(["--url", "http://host/", "--json"])
    expect(both.code).toBe(2)
    expect(both.stdout.toString()).toContain("name a file with --out")
  })
})

describe("on a terminal", () => {
  const MARK = "\r\u001b[2K"

  it("one line tells how far it is, above it what happens", () => {
    const clock = manualClock()
    let written = ""
    const stderr: Stream = { isTTY: true, columns: 60, on: () => undefined, write: (text) => ((written += text), true) }
    const output = new Output(stderr, stderr, { NO_COLOR: "1" }, { json: false, verbose: false })
    const view = runUrlView(output, clock, true)
    const after = (ms: number): string => {
      written = ""
      clock.advance(ms)
      return written
    }
    expect(after(100)).toBe(`${MARK}waiting for an answer, 100 ms`)
    view.on({ type: "bytes", bytes: 1_000_000, total: 4_000_000 })
    expect(after(100)).toBe(`${MARK}1,000,000 of 4,000,000 bytes  25 %  5.0 MB/s`)
    const error = new SpillwayError("NETWORK", "the body was cut short")
    view.on({ type: "retry", attempt: 1, delayMs: 2_000, error, from: 1_000_000 })
    expect(written).toContain("try 1 failed: NETWORK: the body was cut short; goes on from byte 1,000,000 in 2.0 s\n")
    expect(after(100)).toBe(`${MARK}next try in 1.9 s`)
    written = ""
    view.stop()
    expect(written + after(1_000)).toBe(MARK)
  })
})

describe("secrets", () => {
  const SECRETS = [
    "hunter2hunter2",
    "s3cr3t-user",
    "tok-abcdef",
    "key-123456",
    "cookie-98765",
    "cust-55555",
    "form-44444",
  ]

  it("are in no output, however it ends and whatever the server repeats", async () => {
    const mode = { status: 200 }
    const away = await httpServer((_request, response) => response.writeHead(401).end(SECRETS.join(" ")))
    const { origin, port } = await httpServer((request, response) => {
      if (mode.status === 307) response.setHeader("location", `${away.origin}/?access_token=tok-abcdef`)
      if (mode.status === 302) response.setHeader("location", `/more/hunter2hunter2?token=tok-abcdef`)
      response.writeHead(mode.status).end(`${JSON.stringify(request.headers)} ${request.url} ${SECRETS.join(" ")}`)
    })
    const url = `${origin.replace("//", "//s3cr3t-user:hunter2hunter2@")}/a?access_token=tok-abcdef`
    const args = [
      "--header",
      "X-Api-Key: key-123456",
      "--header",
      "Cookie: cookie-98765",
      "--header",
      "X-Mine: cust-55555",
    ]
    const data = ["--method", "PUT", "--data", '{"client_secret":"form-44444"}']
    let told = ""
    for (mode.status of [200, 302, 307, 400, 401, 404, 429, 500])
      for (const more of [[], ["--verbose"], ["--json"]]) {
        const called = await call([
          "--url",
          url,
          ...args,
          ...(mode.status === 307 ? [] : data),
          "--out",
          "x",
          "--retries",
          "1",
          ...more,
        ])
        told += called.stderr + called.stdout.toString()
      }
    let requests = 0
    const flaky = await httpServer((request, response) => {
      requests += 1
      const mine = request.headers["x-mine"] as string
      response.writeHead(requests % 2 === 1 ? 500 : 200, { "content-type": `text/${mine}` }).end(`mine: ${mine}`)
    })
    for (const more of [[], ["--suppress", "500 until 2999-12-31: flaky"]]) {
      const called = await call([
        "--url",
        `${flaky.origin}/?access_token=tok-abcdef`,
        ...args,
        "--json",
        "--out",
        "x",
        ...more,
      ])
      expect(called.code).toBe(0)
      expect(called.stdout.toString()).toContain("mine: ***")
      told += called.stderr + called.stdout.toString()
    }
    await endServers()
    const wrong = [
      url,
      url.replace(`:${port}`, ":99999"),
      url.replace("http:", "ftp:"),
      url.replace("localhost", "no-such-host.invalid"),
    ]
    for (const bad of wrong)
      for (const more of [["--verbose"], ["--json", "--out", "x"]]) {
        const called = await call(["--url", bad, ...args, ...data, "--retries", "1", ...more])
        expect(called.code).not.toBe(0)
        told += called.stderr + called.stdout.toString()
      }
    for (const secret of SECRETS) expect(told).not.toContain(secret)
    expect(told).not.toContain(Buffer.from("s3cr3t-user:hunter2hunter2").toString("base64"))
    expect(told).toContain("/a?access_token=***")
  })

  it("are not sent to another host, which is told", async () => {
    const seen: IncomingHttpHeaders[] = []
    const away = await httpServer((request, response) => {
      seen.push(request.headers)
      response.end("there")
    })
    const { origin } = await httpServer((_request, response) =>
      response.writeHead(302, { location: away.origin }).end(),
    )
    const url = origin.replace("//", "//me:hunter2hunter2@")
    const { code, stderr } = await call(["--url", url, "--header", "x-api-key: key-123456", "--header", "accept: a/b"])
    expect(code).toBe(0)
    expect(stderr).toContain(`redirect to ${away.origin}/ (another host: only harmless headers go there)`)
    expect(seen).toMatchObject([{ accept: "a/b" }])
    expect(seen[0]?.authorization ?? seen[0]?.["x-api-key"]).toBeUndefined()
  })
})

describe("suppression", () => {
  it("counts and tells of what is expected, and exits 0 with nothing written", async () => {
    const url = await answering(404)
    const args = [
      "--url",
      `${url}/old`,
      "--suppress",
      "404,HTTP_5XX until 2999-12-31: moved until spring",
      "--out",
      "x",
    ]
    const { code, stderr } = await call(args)
    expect(code).toBe(0)
    expect(stderr).toBe("suppressed until 2999-12-31 (moved until spring): HTTP_4XX: the server answered 404\n")
    expect(await readdir(directory)).toEqual([])
    const data = dataOf(await call([...args, "--json"]))
    expect(data).toMatchObject({ tries: 1, suppressed: { code: "HTTP_4XX", rule: { reason: "moved until spring" } } })
  })

  it("takes rules from a file, by pattern", async () => {
    const url = await answering(503)
    const rule = { pattern: `${url}/old/*`, status: 503, reason: "being moved", expires: "2999-12-31" }
    await writeFile(join(directory, "rules.json"), JSON.stringify([rule]))
    expect((await call(["--url", `${url}/old/1`, "--suppress", "rules.json"])).code).toBe(0)
    expect((await call(["--url", `${url}/new/1`, "--suppress", "rules.json"])).code).toBe(5)
  })

  it("takes rules from the project, which must be right when it is named", async () => {
    const url = await answering(404)
    const rule = { pattern: `${url}/old`, status: 404, reason: "moved", expires: "2999-12-31" }
    const folderOf = (rules: unknown): Promise<TestProject> =>
      projectFolder({
        "spillway.config.ts": `import { project } from "${SPILLWAY}"\nexport default project({ pipelines: [], suppress: ${JSON.stringify(rules)} })`,
      })
    const [good, bad] = await Promise.all([folderOf([rule]), folderOf([{ ...rule, reason: "" }])])
    const [here, named, wrong, wrongHere] = await Promise.all([
      call(["--url", `${url}/old`], { directory: good.directory }),
      call(["--url", `${url}/old`, "--project", good.directory]),
      call(["--url", `${url}/old`, "--project", bad.directory]),
      call(["--url", `${url}/old`], { directory: bad.directory }),
    ])
    await Promise.all([good.remove(), bad.remove()])
    expect([here.code, named.code, wrong.code, wrongHere.code]).toEqual([0, 0, 2, 4])
    expect(named.stderr).toContain("suppressed until 2999-12-31 (moved)")
    expect(wrong.stderr).toContain("error[CONFIG]: the suppression rules have faults: rule 1: reason is empty")
    expect(wrongHere.stderr).toContain("the project cannot be loaded, so its suppression rules do not apply")
  })

  it("no longer applies when a rule has expired, which is said once", async () => {
    const url = await answering(500)
    const { code, stderr } = await call(["--url", url, "--suppress", "500 until 2020-01-01: being mended"])
    expect(code).toBe(5)
    expect(
      stderr.match(/a rule suppressed this failure until 2020-01-01 \(being mended\); it has expired/g),
    ).toHaveLength(1)
  })

  it("does not hide that a body which was handed on broke off", async () => {
    const { origin } = await rawServer((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"))
    const args = ["--url", origin, "--suppress", "NETWORK until 2999-12-31: flaky", "--retries", "1"]
    const handedOn = await call(args)
    expect({ code: handedOn.code, stdout: handedOn.stdout.toString() }).toEqual({ code: 5, stdout: "half" })
    const toFile = await call([...args, "--out", "x"])
    expect(toFile.code).toBe(0)
    expect(toFile.stderr).toContain("suppressed until 2999-12-31 (flaky): NETWORK")
    expect(await readdir(directory)).toEqual([])
  })

  it("refuses rules that are none", async () => {
    const server = await httpServer((_request, response) => response.end())
    await writeFile(join(directory, "broken.json"), "{")
    await writeFile(join(directory, "wrong.json"), '[{"pattern":1,"code":"NONE"}]')
    for (const [rule, message] of [
      ["404 until someday: why", "is not a date"],
      ["40x until 2999-12-31: why", "are not all statuses or codes"],
      ["none.json", "cannot be read (ENOENT)"],
      ["broken.json", "is not JSON"],
      ["wrong.json", "pattern is not a text; rule 1: reason is not a text"],
    ] as const) {
      const { code, stderr } = await call(["--url", server.origin, "--suppress", rule, "--out", "x"])
      expect(code).toBe(2)
      expect(stderr).toContain(message)
    }
    expect(server.accepted).toBe(0)
    expect((await readdir(directory)).sort()).toEqual(["broken.json", "wrong.json"])
  })
})
