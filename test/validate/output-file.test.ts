import { mkdtemp, readFile, readdir, rm } from "node:fs/promises"
import type { FileHandle } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { systemPorts, type Ports } from "../../src/core/ports.ts"
import { outputFile } from "../../src/validate/output-file.ts"

const MIB = 1 << 20

let directory = ""
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "spillway-output-"))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

/** The handle with some of its methods in another way. */
const portsWith = (change: (handle: FileHandle) => Partial<FileHandle>): Ports => ({
  ...systemPorts,
  files: {
    ...systemPorts.files,
    create: async (path) => {
      const handle = await systemPorts.files.create(path)
      return Object.assign(handle, change(handle))
    },
  },
})

describe("an output file", () => {
  it("holds what was written, however little the disk takes at a time", async () => {
    const ports = portsWith((handle) => {
      const write = handle.write.bind(handle) as (bytes: Uint8Array, from: number, length: number) => Promise<unknown>
      return {
        write: ((bytes: Uint8Array, from: number) => write(bytes, from, Math.min(7, bytes.length - from))) as never,
      }
    })
    const file = await outputFile("out.csv", [], { directory, ports })
    await file.write(Buffer.from("a,b\n1,2\n3,4\n5,6\n"))
    await file.write(Buffer.from("7,8\n"))
    await file.finish()
    await file.publish()
    expect(await readFile(join(directory, "out.csv"), "utf8")).toBe("a,b\n1,2\n3,4\n5,6\n7,8\n")
  })

  it("is put on the disk while it grows", async () => {
    let synced = 0
    const ports = portsWith(() => ({ datasync: () => Promise.resolve(void synced++), sync: () => Promise.resolve() }))
    const file = await outputFile("out.csv", [], { directory, ports })
    for (let n = 0; n < 70; n++) await file.write(Buffer.alloc(MIB))
    expect(synced).toBe(2)
    await file.finish()
    await file.publish()
  })

  it("does not appear when the disk failed on the way, though it tells so only once", async () => {
    const failure = Object.assign(new Error("input/output error"), { code: "EIO" })
    const ports = portsWith(() => ({ datasync: () => Promise.reject(failure), sync: () => Promise.resolve() }))
    const file = await outputFile("out.csv", [], { directory, ports })
    for (let n = 0; n < 40; n++) await file.write(Buffer.alloc(MIB))
    await expect(file.finish()).rejects.toMatchObject({ code: "RESOURCE", cause: failure })
    await file.discard()
    expect(await readdir(directory)).toEqual([])
  })
})
