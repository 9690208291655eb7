import { mkdtemp, readFile, readdir, rm } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import chromium from "@sparticuz/chromium"
import type { Page } from "playwright-core"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { z } from "zod"
import type { SourceContext } from "../../src/core/contracts.ts"
import type { SpillwayError } from "../../src/core/errors.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { redact } from "../../src/core/secrets.ts"
import { passRate, pipeline, table } from "../../src/index.ts"
import type { BrowserOptions } from "../../src/sources/browser/options.ts"
import { browser } from "../../src/sources/browser/browser.ts"
import { testBed, type Bed } from "../engine/bed.ts"

/** A shop whose pages are made by a script from data it fetches, three rows a page. */
const SHELL = `<!doctype html><title>Shop</title><ul id="list"></ul><p id="state"></p><button id="more">More</button><script>
  const addressed = location.search.includes("addressed")
  let page = Number(new URLSearchParams(location.search).get("page") ?? 1)
  const more = document.querySelector("#more")
  async function show() {
    more.disabled = true
    const answer = await fetch("/items?page=" + page)
    if (!answer.ok) { document.querySelector("#state").textContent = "failed " + answer.status; return }
    const { items, last } = await answer.json()
    document.querySelector("#list").innerHTML = items.map((i) => '<li data-id="' + i.id + '"><b>' + i.name + "</b></li>").join("")
    document.querySelector("#list").dataset.page = page
    document.querySelector("#state").textContent = "page " + page
    more.disabled = last
  }
  more.addEventListener("click", () => {
    page++
    if (addressed) location.search = "?addressed&page=" + page
    else show()
  })
  show()
</script>`

let server: Server
let origin = ""
let executablePath = ""
/** How often to answer for a page's items with 500, by page. */
let failures: Record<number, number> = {}
let asked: string[] = []
/** The third item of the second page. */
let oddName = "item 6"

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const nobody = createServer()
  await new Promise<void>((resolve) => nobody.listen(0, "127.0.0.1", resolve))
  const { port } = nobody.address() as AddressInfo
  await new Promise((resolve) => nobody.close(resolve))
  return port
}

const item = (id: number) => ({ id, name: id === 6 ? oddName : `item ${id}` })

beforeAll(async () => {
  executablePath = await chromium.executablePath()
  server = createServer((asking, answering) => {
    const url = new URL(asking.url ?? "/", "http://x")
    asked.push(asking.url ?? "")
    if (url.pathname === "/gone") {
      answering.writeHead(404).end("gone")
      return
    }
    if (url.pathname !== "/items") {
      answering.writeHead(200, { "content-type": "text/html" }).end(SHELL)
      return
    }
    const page = Number(url.searchParams.get("page"))
    if ((failures[page] ?? 0) > 0) {
      failures[page] = (failures[page] ?? 0) - 1
      answering.writeHead(500).end()
      return
    }
    const items = [1, 2, 3].map((i) => item((page - 1) * 3 + i))
    answering.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ items, last: page === 3 }))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
  failures = {}
  asked = []
  oddName = "item 6"
})
afterEach(() => bed.end())

const extract = (page: Page) =>
  page.evaluate<{ id: number; name: string }[]>(
    "[...document.querySelectorAll('#list li')].map((row) => ({ id: Number(row.dataset.id), name: row.textContent }))",
  )

function shop(options: Partial<BrowserOptions> = {}) {
  return browser({
    url: `${origin}/`,
    extract,
    next: "#more",
    ready: "#list li",
    timeout: "2 seconds",
    retries: { attempts: 2, baseDelay: 1 },
    launch: { executablePath, args: chromium.args },
    ...options,
  })
}

function loaded(options: Partial<BrowserOptions> = {}) {
  return pipeline({
    name: "shop",
    source: shop(options),
    schema: z.object({ id: z.int(), name: z.string().regex(/^item/) }),
    checks: [passRate(0.5)],
    sink: table("bronze.items", { key: ["id"] }),
  })
}

const ids = async (): Promise<number[]> =>
  (await bed.rows<{ id: string }>("SELECT id FROM bronze.items ORDER BY id")).map(({ id }) => Number(id))

const evidence = (): Promise<string[]> => readdir(join(bed.directory, ".spillway", "evidence")).catch(() => [])

describe("rendered pages", () => {
  it.each(["/", "/?addressed"])("are read to the last one, one that fails at first included: %s", async (path) => {
    failures = { 2: 1 }
    // Of a page without an address of its own, waiting for rows would find those of the page before.
    const options = { url: origin + path, ready: "#state:has-text('page'):not(:empty)" }
    const waited = async (page: Page) => {
      await page.waitForFunction("document.querySelector('#state').textContent.startsWith('page')", undefined, {
        timeout: 1_000,
      })
      return extract(page)
    }
    expect(await bed.run(loaded({ ...options, extract: waited }))).toMatchObject({
      status: "completed",
      counts: { read: 9, inserted: 9, deadLettered: 0 },
    })
    expect(await ids()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(bed.eventsOf("retry")).toMatchObject([{ what: expect.stringContaining("page 2") as string, tries: 1 }])
    expect(asked.filter((url) => url === "/items?page=2")).toHaveLength(2)
    expect(await evidence()).toEqual([])
  })

  it("that cannot be read are dead letters with their HTML, and the pages after them are read", async () => {
    const odd = async (page: Page) => {
      const records = await extract(page)
      if (records.some(({ id }) => id === 5)) throw new Error("the price is missing")
      return records
    }
    expect(await bed.run(loaded({ url: `${origin}/?addressed`, extract: odd }))).toMatchObject({
      status: "completed",
      counts: { read: 7, inserted: 6, deadLettered: 1 },
    })
    expect(await ids()).toEqual([1, 2, 3, 7, 8, 9])
    const [letter] = await bed.rows<{
      source: Record<string, unknown>
      error_code: string
      error_msg: string
      rule: string
      raw: Buffer
    }>("SELECT source, error_code, error_msg, rule, raw FROM ops.dead_letters")
    expect(letter).toMatchObject({
      error_code: "DECODE",
      rule: "extract",
      error_msg: expect.stringContaining("the price is missing") as string,
    })
    const files = letter?.source["evidence"] as string[]
    expect(letter?.source).toMatchObject({ url: `${origin}/?addressed`, page: "2" })
    expect(letter?.raw.toString()).toContain("item 5")
    expect((await readFile(join(bed.directory, files[0] ?? ""))).subarray(1, 4).toString()).toBe("PNG")
    expect(await readFile(join(bed.directory, files[1] ?? ""), "utf8")).toContain("item 5")
    expect(await evidence()).toHaveLength(2)
  })

  it("that cannot be read and lead nowhere do not pass for the last one", async () => {
    failures = { 2: 1_000 }
    const options = { url: `${origin}/?addressed`, timeout: "1 second" }
    expect(await bed.run(loaded(options))).toMatchObject({ status: "partial", held: [{ code: "DATA_LOSS" }] })
    expect(bed.eventsOf("partition.published")).toEqual([])
    expect(await evidence()).toHaveLength(2)
  })

  it("with a record that is refused are kept as evidence of its letter", async () => {
    oddName = "oops"
    expect(await bed.run(loaded())).toMatchObject({ counts: { read: 9, inserted: 8, deadLettered: 1 } })
    const source = await bed.value<Record<string, unknown>>("SELECT source FROM ops.dead_letters")
    expect(source).toMatchObject({ page: "2", item: 3 })
    const files = source["evidence"] as string[]
    expect(await readFile(join(bed.directory, files[1] ?? ""), "utf8")).toContain("oops")
    expect(await evidence()).toHaveLength(2)
  })
})

const contextOf = (signal = new AbortController().signal): SourceContext => ({
  ports: systemPorts,
  directory: bed.directory,
  signal,
  exact: new Set(),
  maxRecordBytes: 1 << 20,
})

async function read(options: Partial<BrowserOptions>, context = contextOf()): Promise<number> {
  const source = shop(options)
  let count = 0
  for (const partition of await source.list(context, new Map()))
    for await (const batch of source.read(partition, undefined, context)) count += batch.length
  return count
}

describe("what goes wrong", () => {
  it("has a code: status, connection, name, browser, circle, too many, a click without effect", async () => {
    await expect(read({ url: `${origin}/gone` })).rejects.toMatchObject({ code: "HTTP_4XX", where: `${origin}/gone` })
    await expect(read({ url: `http://127.0.0.1:${await freePort()}/` })).rejects.toMatchObject({ code: "NETWORK" })
    await expect(read({ launch: { executablePath: "/no/such/browser" } })).rejects.toMatchObject({ code: "RESOURCE" })
    await expect(read({ maxPages: 2 })).rejects.toMatchObject({ code: "RESOURCE" })
    const back = async (page: Page) => {
      await page.goto(page.url().includes("page=2") ? `${origin}/` : `${origin}/?addressed&page=2`)
      return true
    }
    await expect(read({ next: back })).rejects.toMatchObject({
      code: "RESOURCE",
      message: expect.stringContaining("page 1 again") as string,
    })
    await expect(read({ next: "#list" })).rejects.toMatchObject({ code: "TIMEOUT" })
    expect(() => browser({ url: "shop.example.com", extract })).toThrow(expect.objectContaining({ code: "CONFIG" }))
  })

  it("leaves nothing behind for whoever only looks on, and stops when it is told to", async () => {
    oddName = "oops"
    expect(await read({})).toBe(9)
    expect(await evidence()).toEqual([])
    const controller = new AbortController()
    const reason = new Error("stopped by the test")
    const stopping = async (page: Page) => {
      controller.abort(reason)
      return extract(page)
    }
    await expect(read({ extract: stopping }, contextOf(controller.signal))).rejects.toBe(reason)
  })

  it("shows no password of the address", async () => {
    const source = shop({ url: "http://me:s3cret-word@127.0.0.1:1/" })
    const [partition] = await source.list(contextOf(), new Map())
    expect(JSON.stringify([partition, source.description])).not.toContain("s3cret-word")
    const failure: unknown = await read({ url: `http://me:s3cret-word@127.0.0.1:${await freePort()}/` }).catch(
      (error: unknown) => error,
    )
    const told = failure as SpillwayError
    expect(told.code).toBe("NETWORK")
    expect(JSON.stringify([told.message, told.hint, told.where, told.context])).not.toContain("s3cret-word")
    expect(redact("it was s3cret-word")).toBe("it was ***")
  })
})

describe("a browser", () => {
  const reason = new Error("stopped by the test")
  let folder = ""
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-browser-"))
    vi.stubEnv("TMPDIR", folder)
  })
  afterEach(async () => {
    vi.unstubAllEnvs()
    await rm(folder, { recursive: true })
  })

  it("leaves no folder of its own behind: read to the end, left early, failing, missing", async () => {
    let during: string[] = []
    const looking = async (page: Page) => {
      during = await readdir(folder)
      return extract(page)
    }
    expect(await read({ extract: looking })).toBe(9)
    expect(during).not.toEqual([])
    expect(await readdir(folder)).toEqual([])

    const source = shop()
    const [partition] = await source.list(contextOf(), new Map())
    if (partition === undefined) throw new Error("there is no partition")
    for await (const batch of source.read(partition, undefined, contextOf())) {
      expect(batch.length).toBe(3)
      break
    }
    expect(await readdir(folder)).toEqual([])

    await expect(read({ maxPages: 2 })).rejects.toMatchObject({ code: "RESOURCE" })
    expect(await readdir(folder)).toEqual([])

    await expect(read({ launch: { executablePath: "/no/such/browser" } })).rejects.toMatchObject({
      code: "RESOURCE",
      message: expect.stringContaining("there is no program /no/such/browser") as string,
    })
    expect(await readdir(folder)).toEqual([])
  })

  it("leaves none behind when it is stopped on a page", async () => {
    const controller = new AbortController()
    const stopping = (page: Page) => {
      controller.abort(reason)
      return extract(page)
    }
    await expect(read({ extract: stopping }, contextOf(controller.signal))).rejects.toBe(reason)
    expect(await readdir(folder)).toEqual([])
  })

  it("leaves none behind, and reads nothing, when it is stopped while it starts", async () => {
    const controller = new AbortController()
    const context = contextOf(controller.signal)
    const stat = (path: string) => {
      controller.abort(reason)
      return systemPorts.files.stat(path)
    }
    const ports = { ...systemPorts, files: { ...systemPorts.files, stat } }
    await expect(read({}, { ...context, ports })).rejects.toBe(reason)
    expect(asked).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  it.each(["SIGINT", "SIGTERM"])("leaves %s to whoever listens to it already", async (signal) => {
    const listeners = async (): Promise<number> => {
      const before = process.listenerCount(signal)
      let during = 0
      const counting = (page: Page) => {
        during = process.listenerCount(signal)
        return extract(page)
      }
      await read({ extract: counting, next: () => Promise.resolve(false) })
      return during - before
    }
    const others = process.listeners(signal)
    process.removeAllListeners(signal)
    try {
      expect(await listeners()).toBe(1)
      process.on(signal, () => undefined)
      expect(await listeners()).toBe(0)
    } finally {
      process.removeAllListeners(signal)
      for (const other of others) process.on(signal, other as () => void)
    }
  })
})
