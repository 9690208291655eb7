import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import type { IncomingMessage, ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { gzipSync } from "node:zlib"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { until } from "../faults/waiting.ts"
import { endServers, httpServer } from "../resilience/servers.ts"
import { start } from "./command-line.ts"
import { runUrl } from "./run-url-call.ts"

const MB = 1_000_000
const PIECE = 64 * 1024

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "spillway-run-url-"))
})

afterEach(async () => {
  await endServers()
  await rm(directory, { recursive: true, force: true })
})

const file = (name: string): string => join(directory, name)
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const call = (...args: readonly string[]): ReturnType<typeof runUrl> => runUrl(args, { directory })

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest("hex")
}

/** Bytes that can be made from any place on, and that no compression makes smaller. */
function bytesFrom(offset: number, length: number, seed = 0): Buffer {
  const made = Buffer.allocUnsafe(length)
  for (let i = 0; i < length; i++) {
    const mixed = Math.imul(offset + i + seed * 1_000_003, 2654435761)
    made[i] = Math.imul(mixed ^ (mixed >>> 15), 2246822519) >>> 24
  }
  return made
}

interface Served {
  readonly size: number
  readonly seed?: number
  readonly etag?: string | undefined
  readonly lastModified?: string
  /** `ignored`: always the whole. `careless`: parts without a look at `If-Range`. */
  readonly ranges?: "served" | "ignored" | "careless"
  /** The connection is cut after so many bytes of this answer. */
  readonly cutAfter?: number | undefined
}

interface FileServer {
  readonly url: string
  /** The `Range` of each request. */
  readonly asked: (string | undefined)[]
}

/** Serves a generated file; `next` says how the n-th request (from 1) is answered. */
async function fileServer(next: (request: number) => Served): Promise<FileServer> {
  const asked: (string | undefined)[] = []
  const { origin } = await httpServer((request, response) => {
    asked.push(request.headers.range)
    void serve(request, response, next(asked.length))
  })
  return { url: `${origin}/file`, asked }
}

async function serve(request: IncomingMessage, response: ServerResponse, served: Served): Promise<void> {
  const { size, seed = 0, etag, lastModified, ranges = "served", cutAfter = Infinity } = served
  const validator = etag ?? lastModified
  const [, first] = /^bytes=(\d+)-$/.exec(request.headers.range ?? "") ?? []
  const isSame = ranges === "careless" || request.headers["if-range"] === validator
  const from = first !== undefined && ranges !== "ignored" && isSame ? Number(first) : 0
  response.writeHead(from > 0 ? 206 : 200, {
    "content-length": size - from,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { "last-modified": lastModified }),
    ...(from > 0 ? { "content-range": `bytes ${from}-${size - 1}/${size}` } : {}),
  })
  const end = Math.min(size, from + cutAfter)
  // Who asked may leave at any time.
  await pipeline(pieces(from, end, seed), response, { end: false }).catch(() => undefined)
  if (end === size) response.end()
  // What was written goes out first.
  else response.write("", () => setImmediate(() => response.destroy()))
}

function* pieces(from: number, end: number, seed: number): Generator<Buffer> {
  for (let at = from; at < end; at += PIECE) yield bytesFrom(at, Math.min(PIECE, end - at), seed)
}

const parts = async (): Promise<string[]> => (await readdir(directory)).filter((name) => name.endsWith(".part"))

describe("a body that breaks off", () => {
  it("of 200 MB, cut twice: is gone on with, its hash is right, and memory stays small", async () => {
    const size = 200 * MB
    const { url, asked } = await fileServer((n) => ({ size, etag: '"v1"', cutAfter: n <= 2 ? 70 * MB : undefined }))
    const before = process.memoryUsage().rss
    let peak = before
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 5)
    const { code, stderr } = await call("--url", url, "--out", "big.bin")
    clearInterval(watch)
    expect(code).toBe(0)
    expect(asked).toHaveLength(3)
    expect(asked[0]).toBeUndefined()
    expect(stderr.match(/^try \d failed: NETWORK: .*; goes on from byte [\d,]+ in \d+ ms$/gm)).toHaveLength(2)
    expect(stderr).toMatch(/^200 {2}200,000,000 bytes in .*, 3 tries, gone on 2 times, in big.bin$/m)
    const expected = createHash("sha256")
    for (let at = 0; at < size; at += MB) expected.update(bytesFrom(at, MB))
    const digest = expected.digest("hex")
    expect(stderr).toContain(`sha256 ${digest}\n`)
    expect(await sha256Of(file("big.bin"))).toBe(digest)
    expect(await readdir(directory)).toEqual(["big.bin"])
    expect(peak - before).toBeLessThan(150 * MB)
  })

  it("is read from the beginning where the server knows no ranges, or gives nothing to tell versions by", async () => {
    for (const served of [
      { etag: '"v1"', ranges: "ignored" as const },
      { etag: 'W/"v1"' },
      {},
      // Changed a moment ago: it may change again within the same second.
      { lastModified: new Date().toUTCString() },
    ]) {
      const server = await fileServer((n) => ({ size: 2 * MB, ...served, cutAfter: n === 1 ? MB : undefined }))
      const { code, stderr } = await call("--url", server.url, "--out", "x")
      expect(code).toBe(0)
      expect(stderr).toContain("from the beginning")
      expect(server.asked).toHaveLength(2)
      expect((await readFile(file("x"))).equals(bytesFrom(0, 2 * MB))).toBe(true)
    }
  })

  it("is gone on with by its date", async () => {
    const lastModified = "Sun, 06 Nov 1994 08:49:37 GMT"
    const server = await fileServer((n) => ({ size: 2 * MB, lastModified, cutAfter: n === 1 ? MB : undefined }))
    expect((await call("--url", server.url, "--out", "x")).code).toBe(0)
    expect(server.asked[1]).toMatch(/^bytes=\d+-$/)
    expect((await readFile(file("x"))).equals(bytesFrom(0, 2 * MB))).toBe(true)
  })

  it("leaves nothing of a longer version before it", async () => {
    const server = await fileServer((n) =>
      n === 1 ? { size: 2 * MB, etag: '"v1"', cutAfter: 1.5 * MB } : { size: 1_000, etag: '"v2"' },
    )
    expect((await call("--url", server.url, "--out", "x")).code).toBe(0)
    expect((await readFile(file("x"))).equals(bytesFrom(0, 1_000))).toBe(true)
  })

  it("is never put together from two versions, whether the server heeds If-Range or not", async () => {
    for (const ranges of ["served", "careless"] as const) {
      const server = await fileServer((n) =>
        n === 1 ? { size: 2 * MB, etag: '"v1"', cutAfter: MB } : { size: 2 * MB, seed: 7, etag: '"v2"', ranges },
      )
      expect((await call("--url", server.url, "--out", "x")).code).toBe(0)
      expect((await readFile(file("x"))).equals(bytesFrom(0, 2 * MB, 7))).toBe(true)
    }
  })

  it("is right whatever servers do and wherever they cut", async () => {
    const answer = fc.record({
      cutAfter: fc.option(fc.integer({ min: 0, max: 300_000 }), { nil: undefined }),
      ranges: fc.constantFrom("served" as const, "ignored" as const, "careless" as const),
      version: fc.constantFrom(0, 1),
    })
    const size = fc.integer({ min: 1, max: 400_000 })
    const outcomes = { complete: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(size, size),
        fc.array(answer, { maxLength: 5 }),
        fc.boolean(),
        async (sizes, plan, toFile) => {
          const server = await fileServer((n) => {
            const { version = 0, ...how } = plan[n - 1] ?? {}
            return { size: sizes[version] ?? 0, seed: version, etag: `"v${version}"`, ...how }
          })
          const { code, stdout } = await call("--url", server.url, "--retries", "9", ...(toFile ? ["--out", "x"] : []))
          const got = toFile ? await readFile(file("x")) : stdout
          const versions = sizes.map((bytes, version) => bytesFrom(0, bytes, version))
          if (code === 0) {
            outcomes.complete += 1
            return versions.some((whole) => got.equals(whole)) && (await parts()).length === 0
          }
          // What was handed on cannot be taken back; it is the beginning of one version.
          outcomes.refused += 1
          const isMixed = plan.some(({ version }) => version !== 0)
          return !toFile && isMixed && versions.some((whole) => got.equals(whole.subarray(0, got.length)))
        },
      ),
      { numRuns: 100 },
    )
    expect(Math.min(outcomes.complete, outcomes.refused)).toBeGreaterThan(0)
  })

  it("that is compressed is read from the beginning", async () => {
    const body = bytesFrom(0, 300_000)
    const sent = gzipSync(body)
    let requests = 0
    const { origin } = await httpServer((_request, response) => {
      requests += 1
      response.writeHead(200, { "content-encoding": "gzip", "content-length": sent.length, etag: '"v1"' })
      if (requests === 2) response.end(sent)
      else response.write(sent.subarray(0, 100_000), () => setImmediate(() => response.destroy()))
    })
    const { code, stderr } = await call("--url", origin, "--out", "x")
    expect({ code, requests }).toEqual({ code: 0, requests: 2 })
    expect(stderr).toContain(`sha256 ${sha256(body)}`)
  })

  it("may break off as often as it likes while it gets further, and not otherwise", async () => {
    const size = 9 * MB
    const patient = await fileServer(() => ({ size, etag: '"v1"', cutAfter: MB }))
    const done = await call("--url", patient.url, "--out", "x", "--retries", "1")
    expect(done.code).toBe(0)
    expect(patient.asked.length).toBeGreaterThanOrEqual(9)
    const stuck = await fileServer(() => ({ size, etag: '"v2"', cutAfter: 1_000 }))
    const { code, stderr } = await call("--url", stuck.url, "--out", "y", "--retries", "3")
    expect(code).toBe(5)
    expect(stderr).toMatch(/^error\[NETWORK\]: .*gave up after 4 attempts/m)
    expect(stuck.asked).toHaveLength(4)
  })
})

describe("a body to standard output that breaks off", () => {
  it("is gone on with, or read again and compared", async () => {
    for (const ranges of ["served", "ignored"] as const) {
      const server = await fileServer((n) => ({ size: 2 * MB, etag: '"v1"', ranges, cutAfter: n < 3 ? MB : undefined }))
      const { code, stdout, stderr } = await call("--url", server.url)
      expect(code).toBe(0)
      expect(stdout.equals(bytesFrom(0, 2 * MB))).toBe(true)
      expect(stderr).toContain(`sha256 ${sha256(stdout)}`)
    }
  })

  it("is not taken for another version's that breaks off while it is compared", async () => {
    const plan: Served[] = [
      { size: 2 * MB, etag: '"v1"', cutAfter: MB },
      { size: 2 * MB, etag: '"v2"', seed: 7, cutAfter: 300_000 },
    ]
    const server = await fileServer((n) => plan[n - 1] ?? { size: 2 * MB, etag: '"v2"', seed: 7 })
    const { code, stdout } = await call("--url", server.url)
    expect(code).toBe(5)
    expect(stdout.equals(bytesFrom(0, stdout.length))).toBe(true)
  })

  it("is compared from the beginning when it breaks off while it is compared", async () => {
    const plan: Served[] = [
      { size: 2 * MB, etag: '"v1"', cutAfter: MB },
      { size: 2 * MB, etag: '"v1"', ranges: "ignored", cutAfter: 300_000 },
    ]
    const server = await fileServer((n) => plan[n - 1] ?? { size: 2 * MB, etag: '"v1"' })
    const { code, stdout } = await call("--url", server.url)
    expect(code).toBe(0)
    expect(stdout.equals(bytesFrom(0, 2 * MB))).toBe(true)
  })

  it("is gone on with again after it was compared", async () => {
    const plan: Served[] = [
      { size: 3 * MB, etag: '"v1"', cutAfter: MB },
      { size: 3 * MB, etag: '"v1"', ranges: "ignored", cutAfter: 2 * MB },
    ]
    const server = await fileServer((n) => plan[n - 1] ?? { size: 3 * MB, etag: '"v1"' })
    const { code, stdout } = await call("--url", server.url)
    expect(code).toBe(0)
    expect(stdout.equals(bytesFrom(0, 3 * MB))).toBe(true)
    expect(Number(server.asked[2]?.slice("bytes=".length, -1))).toBeGreaterThan(MB)
  })

  it("ends with an error when it is another body at the second try, and nothing is mixed", async () => {
    const versions: Served[] = [{ size: 2 * MB, seed: 7 }, { size: 500_000 }]
    for (const second of versions) {
      const server = await fileServer((n) => (n === 1 ? { size: 2 * MB, cutAfter: MB } : second))
      const { code, stdout, stderr } = await call("--url", server.url)
      expect(code).toBe(5)
      expect(stdout.length).toBeGreaterThan(500_000)
      expect(stdout.equals(bytesFrom(0, stdout.length))).toBe(true)
      expect(stderr).toContain("error[NETWORK]: the body broke off, and what came at the next try is another body")
      expect(server.asked).toHaveLength(2)
    }
  })
})

describe("a download that ends early", () => {
  it("keeps what came, and the same command goes on there", async () => {
    const size = 6 * MB
    const failing = { cutAfter: (4 * MB) as number | undefined }
    const server = await fileServer(() => ({ size, etag: '"v1"', ...failing }))
    await writeFile(file("x"), "old")
    const args = ["--url", server.url, "--out", "x", "--retries", "0"]
    const first = await call(...args)
    expect(first.code).toBe(5)
    expect(first.stderr).toMatch(/[\d,]+ bytes are kept in .*x\.[0-9a-f]{16}\.part: the same command goes on there/)
    expect(await readFile(file("x"), "utf8")).toBe("old")
    const [kept = ""] = await parts()
    const { size: keptBytes } = await stat(file(kept))
    failing.cutAfter = undefined
    const second = await call(...args)
    expect(second.code).toBe(0)
    expect(server.asked).toEqual([undefined, undefined, `bytes=${keptBytes}-`])
    expect(second.stderr).toContain("going on from byte")
    expect((await readFile(file("x"))).equals(bytesFrom(0, size))).toBe(true)
    expect(await parts()).toEqual([])
  })

  it("does not go on with what was kept of another version or another address", async () => {
    const served: { etag: string; seed: number; cutAfter: number | undefined } = {
      etag: '"v1"',
      seed: 0,
      cutAfter: 4 * MB,
    }
    const server = await fileServer(() => ({ size: 6 * MB, ...served }))
    expect((await call("--url", server.url, "--out", "x", "--retries", "0")).code).toBe(5)
    Object.assign(served, { seed: 7, cutAfter: undefined })
    expect((await call("--url", `${server.url}?other`, "--out", "x")).code).toBe(0)
    Object.assign(served, { etag: '"v2"' })
    expect((await call("--url", server.url, "--out", "x")).code).toBe(0)
    expect(server.asked).toEqual([undefined, undefined, undefined])
    expect((await readFile(file("x"))).equals(bytesFrom(0, 6 * MB, 7))).toBe(true)
  })

  /** A server that holds the connection open in the middle of a file. */
  async function holding(sent: number): Promise<{ url: string; isSent: () => boolean }> {
    let isSent = false
    const { origin } = await httpServer((_request, response) => {
      response.writeHead(200, { "content-length": 10 * MB, etag: '"v1"' })
      response.write(bytesFrom(0, sent), () => (isSent = true))
    })
    return { url: origin, isSent: () => isSent }
  }

  const bytesThere = async (): Promise<number> => {
    const [name] = await parts()
    return name === undefined ? 0 : (await stat(file(name))).size
  }

  it("by Ctrl-C exits 130, leaves the old file, and what came for the next time", async () => {
    const server = await holding(3 * MB)
    await writeFile(file("x"), "old")
    const { child, ended } = start(["run-url", "--url", server.url, "--out", "x"], {}, directory)
    await until("all that was sent is there", async () => (await bytesThere()) === 3 * MB)
    child.kill("SIGINT")
    const { code, stderr } = await ended
    expect(code).toBe(130)
    expect(stderr).toContain("error[CANCELLED]: the download was stopped\nhint: run the same command again")
    expect(stderr).toContain("3,000,000 bytes are kept in ")
    expect(await readFile(file("x"), "utf8")).toBe("old")
    expect(await parts()).toEqual([expect.stringMatching(/^x\.[0-9a-f]{16}\.part$/)])
  })

  it("by Ctrl-C leaves nothing of what is not worth keeping", async () => {
    const server = await holding(1_000)
    const { child, ended } = start(["run-url", "--url", server.url, "--out", "x"], {}, directory)
    await until("what was sent is there", async () => (await bytesThere()) === 1_000)
    child.kill("SIGTERM")
    expect((await ended).code).toBe(130)
    expect(await readdir(directory)).toEqual([])
  })

  it("by a kill leaves a part under its temporary name, never under the file's", async () => {
    const server = await holding(3 * MB)
    const { child, ended } = start(["run-url", "--url", server.url, "--out", "x"], {}, directory)
    await until("all that was sent is there", async () => (await bytesThere()) === 3 * MB)
    child.kill("SIGKILL")
    await ended
    expect(await readdir(directory)).toEqual([expect.stringMatching(/^x\.[0-9a-f]{8}\.part$/)])
  })

  it("because its reader has left exits 130 and says so", async () => {
    const server = await fileServer(() => ({ size: 50 * MB }))
    const { child, ended } = start(["run-url", "--url", server.url], {}, directory)
    child.stdout?.once("data", () => child.stdout?.destroy())
    const { code, stderr } = await ended
    expect(code).toBe(130)
    expect(stderr).toContain("error[CANCELLED]: whoever read standard output has left")
  })
})
