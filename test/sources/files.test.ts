import { createHash } from "node:crypto"
import { readdirSync, readlinkSync } from "node:fs"
import { mkdir, mkdtemp, readdir, rename, rm, symlink, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { PassThrough, Readable } from "node:stream"
import { pathToFileURL } from "node:url"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { KnownPartition, Source, SourceContext, SourcePartition } from "../../src/core/contracts.ts"
import { nodeFiles, type Files } from "../../src/core/files.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { DecodeFault } from "../../src/core/records.ts"
import { csv, csvInBatches } from "../../src/formats/csv.ts"
import { files } from "../../src/sources/files.ts"
import { sourceContract } from "./contract.ts"

let directory: string
/** Streams handed out and not yet closed. */
/** Paths whose content was read. */
let readings: string[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "spillway-files-"))
  readings = []
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const watched: Files = {
  ...nodeFiles,
  chunks(path, options) {
    readings.push(path)
    return nodeFiles.chunks(path, options)
  },
  read(path, options) {
    readings.push(path)
    return nodeFiles.read(path, options)
  },
}

/** Files below the test's folder that the process holds open, as the system tells. */
const filesOpen = (): number =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory)
    } catch {
      return false
    }
  }).length

const HOUR = 3_600_000

/** A context whose clock is an hour ahead, so that files just written count as settled. */
function contextOf(changes: { files?: Partial<Files>; signal?: AbortSignal; now?: () => number } = {}): SourceContext {
  const clock = { ...systemPorts.clock, now: changes.now ?? (() => Date.now() + HOUR) }
  return {
    ports: { ...systemPorts, clock, files: { ...watched, ...changes.files } },
    directory,
    signal: changes.signal ?? new AbortController().signal,
    exact: new Set(),
    maxRecordBytes: 1 << 20,
  }
}

async function put(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
  return path
}

const known = (partitions: readonly SourcePartition[]): Map<string, KnownPartition> =>
  new Map(partitions.map((partition) => [partition.key, partition]))

const list = (source: Source, context = contextOf(), before: readonly SourcePartition[] = []) =>
  source.list(context, known(before))

const keys = async (source: Source): Promise<string[]> => (await list(source)).map((partition) => partition.key)

async function records(source: Source, partition: SourcePartition, context = contextOf()): Promise<unknown[]> {
  const found: unknown[] = []
  for await (const batch of source.read(partition, undefined, context))
    for (let i = 0; i < batch.length; i++) {
      const record = batch.record(i)
      found.push(record instanceof DecodeFault ? `!${record.fault.rule}` : record)
    }
  return found
}

const failing = (code: string) => Promise.reject(Object.assign(new Error(code), { code }))

sourceContract("files", async () => {
  const rows = (n: number): string =>
    `id,text\n${Array.from({ length: n }, (_, i) => `${i},"line\nbreak ${i}"`).join("\n")}\n`
  await put("data/a.csv", rows(40))
  await put("data/b.csv.gz", gzipSync(rows(40)))
  await put("data/c.csv.zst", zstdCompressSync(rows(40)))
  await put("data/d.csv", 'id,text\n1,"open\n2,x\n3\n4,"y"z\n')
  await put("data/e.csv", "")
  return {
    source: files("data/*", { format: csvInBatches({ bytes: 100, records: 4 }) }),
    context: (signal) => contextOf({ signal }),
    open: () => filesOpen(),
  }
})

describe("finding files", () => {
  beforeEach(async () => {
    for (const name of ["b.csv", "a.csv", "c.jsonl", "d.txt", ".h.csv", "in/e.csv.gz", "in/deep/f.tsv", ".hid/g.csv"])
      await put(`data/${name}`, "")
  })

  it.each<[string, string | string[], string[]]>([
    ["a path", "data/b.csv", ["data/b.csv"]],
    ["a glob, sorted by key", "data/*.csv", ["data/a.csv", "data/b.csv"]],
    [
      "a glob over folders",
      "data/**/*.{csv,csv.gz,tsv}",
      ["data/a.csv", "data/b.csv", "data/in/deep/f.tsv", "data/in/e.csv.gz"],
    ],
    ["a glob one folder deep", "data/*/*.csv.gz", ["data/in/e.csv.gz"]],
    ["a folder", "data/in", ["data/in/deep/f.tsv", "data/in/e.csv.gz"]],
    ["two patterns, each file once", ["data/b.csv", "./data/*.csv"], ["data/a.csv", "data/b.csv"]],
    ["a glob without a match", "data/*.ndjson", []],
  ])("%s", async (_name, patterns, expected) => {
    expect(await keys(files(patterns))).toEqual(expected)
  })

  it("takes absolute paths, addresses and another root", async () => {
    expect(await keys(files(join(directory, "data/*.csv")))).toEqual(["data/a.csv", "data/b.csv"])
    expect(await keys(files(pathToFileURL(`${directory}/data/*.csv`)))).toEqual(["data/a.csv", "data/b.csv"])
    expect(await keys(files("*.csv", { root: "data" }))).toEqual(["a.csv", "b.csv"])
    expect(await keys(files("*.csv", { root: pathToFileURL(join(directory, "data/")) }))).toEqual(["a.csv", "b.csv"])
  })

  it("takes the files of the format from a folder that holds others", async () => {
    expect(await keys(files("data", { format: csv() }))).toEqual([
      "data/a.csv",
      "data/b.csv",
      "data/in/deep/f.tsv",
      "data/in/e.csv.gz",
    ])
  })

  it("refuses typed and untyped formats in one", async () => {
    await expect(list(files("data"))).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(/typed/) as string,
    })
  })

  it("takes a name with the signs of a glob literally when it exists", async () => {
    await put("data/x[1].csv", "")
    expect(await keys(files("data/x[1].csv"))).toEqual(["data/x[1].csv"])
  })

  it("does not walk in circles", async () => {
    await symlink("..", join(directory, "data/in/up"))
    expect(await keys(files("data/in/**/*.tsv"))).toEqual(["data/in/deep/f.tsv"])
  })

  it.each<[string, () => Source]>([
    ["a path that is not there", () => files("data/nothing.csv")],
    ["a folder of a glob that is not there", () => files("nowhere/*.csv")],
    ["a root that is not there", () => files("*.csv", { root: "nowhere" })],
    ["a name that does not tell the format", () => files("data/d.txt")],
  ])("refuses %s, with place and hint", async (_name, make) => {
    await expect(list(make())).rejects.toMatchObject({
      code: "CONFIG",
      where: expect.stringContaining(directory) as string,
      hint: expect.any(String) as string,
    })
  })

  it("refuses no pattern, and addresses that are no files", () => {
    expect(() => files([])).toThrow(expect.objectContaining({ code: "CONFIG" }))
    expect(() => files(new URL("https://example.com/a.csv"))).toThrow(expect.objectContaining({ code: "CONFIG" }))
  })
})

describe("versions", () => {
  it("are the hash of the stored bytes, with size and stamp", async () => {
    const stored = gzipSync("a\n1\n")
    await put("a.csv.gz", stored)
    const [partition] = await list(files("*.gz"))
    expect(partition).toMatchObject({
      version: `sha256:${createHash("sha256").update(stored).digest("hex")}`,
      bytes: stored.length,
      stamp: { size: stored.length },
    })
  })

  it("are known again by the stamp, without reading", async () => {
    await put("a.csv", "a\n1\n")
    const source = files("*.csv")
    const first = await list(source)
    readings = []
    expect(await list(source, contextOf(), first)).toEqual(first)
    expect(readings).toEqual([])
  })

  it("change with the content, also when size and modification time stay", async () => {
    const path = await put("a.csv", "a\n1\n")
    await utimes(path, 1_700_000_000, 1_700_000_000)
    const source = files("*.csv")
    const first = await list(source)
    await writeFile(path, "a\n2\n")
    await utimes(path, 1_700_000_000, 1_700_000_000)
    const second = await list(source, contextOf(), first)
    expect(second[0]?.stamp).toMatchObject({ modified: "1700000000000000000", size: 4 })
    expect(second[0]?.version).not.toBe(first[0]?.version)
  })

  it("are not trusted by a stamp taken within two seconds of a change", async () => {
    const path = await put("a.csv", "a\n1\n")
    const changed = Number(BigInt((await nodeFiles.stat(path)).changed) / 1_000_000n)
    const source = files("*.csv")
    const racy = await list(source, contextOf({ now: () => changed + 1_500 }))
    expect(racy[0]?.stamp).toMatchObject({ racy: true })
    readings = []
    const settled = await list(source, contextOf({ now: () => changed + 3_000 }), racy)
    expect(readings).toEqual([path])
    expect(settled[0]).toMatchObject({ version: racy[0]?.version })
    expect(settled[0]?.stamp).not.toHaveProperty("racy")
  })

  it("stay in order however long each takes to hash", async () => {
    for (let i = 0; i < 12; i++) await put(`f${String(i).padStart(2, "0")}.csv`, "x".repeat((12 - i) * 100_000))
    expect(await keys(files("*.csv"))).toEqual(
      Array.from({ length: 12 }, (_, i) => `f${String(i).padStart(2, "0")}.csv`),
    )
  })
})

describe("what cannot be read holds itself alone", () => {
  const fine = { a: "1" }

  it("a folder where a file should be", async () => {
    await mkdir(join(directory, "a.csv"))
    await put("b.csv", "a\n1\n")
    const source = files("*.csv")
    const [folder, file] = (await list(source)) as [SourcePartition, SourcePartition]
    expect(folder.version).toBe("unreadable:EISDIR")
    await expect(records(source, folder)).rejects.toMatchObject({
      code: "RESOURCE",
      where: join(directory, "a.csv"),
      hint: expect.any(String) as string,
    })
    expect(await records(source, file)).toEqual([fine])
  })

  it("a file without permission", async () => {
    const path = await put("a.csv", "a\n1\n")
    await put("b.csv", "a\n1\n")
    const closed = contextOf({
      files: { chunks: (name, options) => (name === path ? brokenStream("EACCES") : watched.chunks(name, options)) },
    })
    const source = files("*.csv")
    const [locked, file] = (await list(source, closed)) as [SourcePartition, SourcePartition]
    expect(locked.version).toBe("unreadable:EACCES")
    await expect(records(source, locked, closed)).rejects.toMatchObject({ code: "RESOURCE", where: path })
    expect(await records(source, file, closed)).toEqual([fine])
    const [opened] = await list(source, contextOf(), [locked])
    expect(opened?.version).toMatch(/^sha256:/)
  })

  it("a link to nothing", async () => {
    await symlink("nowhere", join(directory, "a.csv"))
    const source = files("*.csv")
    const [link] = (await list(source)) as [SourcePartition]
    await expect(records(source, link)).rejects.toMatchObject({ code: "DATA_LOSS", class: "transient" })
  })

  it("a folder below that cannot be looked into stops the listing, as what it holds is unknown", async () => {
    await put("in/a.csv", "a\n1\n")
    const closed = contextOf({
      files: { list: (path) => (path.endsWith("in") ? failing("EACCES") : nodeFiles.list(path)) },
    })
    await expect(list(files("**/*.csv"), closed)).rejects.toMatchObject({
      code: "RESOURCE",
      where: join(directory, "in"),
    })
  })
})

describe("reading", () => {
  it("unpacks by name and by content", async () => {
    await put("a.csv.gz", gzipSync("a\n1\n"))
    await put("b.csv", gzipSync("a\n2\n"))
    await put("c.csv.zst", zstdCompressSync("a\n3\n"))
    const source = files("*")
    const found = []
    for (const partition of await list(source)) found.push(...(await records(source, partition)))
    expect(found).toEqual([{ a: "1" }, { a: "2" }, { a: "3" }])
  })

  it("counts the stored bytes as progress, and gives the columns", async () => {
    const rows = `a,b\n${"1,2\n".repeat(5000)}`
    await put("a.csv", rows)
    await put("b.csv.gz", gzipSync(rows))
    await put("c.csv", "a,b\n")
    const source = files("*", { format: csvInBatches({ bytes: 1000, records: 100 }) })
    for (const partition of await list(source)) {
      const reader = source.read(partition, undefined, contextOf())
      let bytes = 0
      for await (const batch of reader) bytes += batch.bytes
      if (partition.key !== "c.csv") expect(bytes).toBe(partition.bytes)
      expect(reader.columns).toEqual(["a", "b"])
    }
  })

  it("names file and line of what holds the whole file", async () => {
    await put("a.csv", "\na,a\n1,2\n")
    await put("b.csv.gz", gzipSync("a\n1\n").subarray(0, 15))
    const source = files("*")
    const [twice, cut] = (await list(source)) as [SourcePartition, SourcePartition]
    await expect(records(source, twice)).rejects.toMatchObject({
      code: "DECODE",
      where: `${join(directory, "a.csv")}:2`,
    })
    await expect(records(source, cut)).rejects.toMatchObject({
      code: "DECODE",
      where: join(directory, "b.csv.gz"),
      hint: expect.any(String) as string,
    })
  })

  it.each<[string, (path: string) => Promise<void>, RegExp]>([
    ["vanished", (path) => rm(path), /gone/],
    [
      "was replaced",
      async (path) => {
        await writeFile(`${path}.new`, "a\n1\n")
        await rename(`${path}.new`, path)
      },
      /changed/,
    ],
    ["grew", (path) => writeFile(path, "2\n", { flag: "a" }), /changed/],
  ])("does not take a file that %s, before or meanwhile", async (_name, change, message) => {
    const source = files("*.csv", { format: csvInBatches({ bytes: 1, records: 1 }) })
    for (const when of ["before", "meanwhile"]) {
      const path = await put("a.csv", "a\n1\n2\n3\n")
      const [partition] = (await list(source)) as [SourcePartition]
      const reading = (async () => {
        if (when === "before") await change(path)
        let first = when === "meanwhile"
        for await (const _batch of source.read(partition, undefined, contextOf())) {
          if (first) await change(path)
          first = false
        }
      })()
      await expect(reading).rejects.toMatchObject({
        code: "DATA_LOSS",
        class: "transient",
        where: path,
        message: expect.stringMatching(message) as string,
      })
    }
  })

  it("reports a disk that fails in the middle", async () => {
    await put("a.csv", "a\n1\n")
    const source = files("*.csv")
    const [partition] = (await list(source)) as [SourcePartition]
    const broken = contextOf({ files: { chunks: () => brokenStream("EIO") } })
    await expect(records(source, partition, broken)).rejects.toMatchObject({
      code: "RESOURCE",
      message: expect.stringContaining("EIO") as string,
    })
  })
})

function brokenStream(code: string): Readable {
  const stream = nodeFiles.read("/dev/null")
  stream.destroy(Object.assign(new Error(code), { code }))
  return stream
}

describe("standard input", () => {
  const input = (text: string): Readable => Readable.from([Buffer.from(text.slice(0, 3)), Buffer.from(text.slice(3))])
  const text = "a\n1\n2\n"
  const hash = createHash("sha256").update(text).digest("hex")

  it("is spooled, keyed by its content, and known again", async () => {
    const source = files("-", { format: csv(), input: input(text) })
    const [partition] = (await list(source)) as [SourcePartition]
    expect(partition).toMatchObject({ key: `stdin/${hash.slice(0, 16)}`, version: `sha256:${hash}` })
    expect(await records(source, partition)).toEqual([{ a: "1" }, { a: "2" }])
    expect(await list(source)).toEqual([partition])
    const [again] = await list(files("-", { format: csv(), input: input(text) }), contextOf(), [partition])
    expect(again).toMatchObject({ key: partition.key, version: partition.version })
    expect(await readdir(join(directory, ".spillway/spool"))).toEqual([hash.slice(0, 16)])
  })

  it("unpacks what was compressed", async () => {
    const source = files("-", { format: csv(), input: Readable.from([gzipSync(text)]) })
    const [partition] = (await list(source)) as [SourcePartition]
    expect(await records(source, partition)).toEqual([{ a: "1" }, { a: "2" }])
  })

  it("leaves no spool older than seven days", async () => {
    await list(files("-", { format: csv(), input: input(text) }), contextOf({ now: () => Date.now() }))
    await list(
      files("-", { format: csv(), input: input("a\n6\n") }),
      contextOf({ now: () => Date.now() + 6 * 24 * HOUR }),
    )
    expect(await readdir(join(directory, ".spillway/spool"))).toHaveLength(2)
    await list(
      files("-", { format: csv(), input: input("a\n9\n") }),
      contextOf({ now: () => Date.now() + 8 * 24 * HOUR }),
    )
    expect(await readdir(join(directory, ".spillway/spool"))).toHaveLength(1)
  })

  it("can be interrupted while it is waited for, and leaves nothing", async () => {
    const controller = new AbortController()
    const reason = new Error("stopped")
    const endless = new PassThrough()
    endless.write("a\n", () => controller.abort(reason))
    const listing = list(files("-", { format: csv(), input: endless }), contextOf({ signal: controller.signal }))
    await expect(listing).rejects.toBe(reason)
    expect(await readdir(join(directory, ".spillway/spool"))).toEqual([])
  })

  it("needs a format and stands alone", () => {
    expect(() => files("-")).toThrow(expect.objectContaining({ code: "CONFIG" }))
    expect(() => files(["-", "a.csv"], { format: csv() })).toThrow(expect.objectContaining({ code: "CONFIG" }))
  })
})
