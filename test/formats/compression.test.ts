import { Readable } from "node:stream"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { describe, expect, it } from "vitest"
import {
  compressionByMagic,
  compressionByName,
  decompress,
  uncompressedName,
  type Compression,
} from "../../src/formats/compression.ts"

const opened: Readable[] = []

/** A file of these bytes, read in chunks of a size. */
const opener =
  (bytes: Uint8Array, chunk = 7) =>
  (start: number): Readable => {
    const parts: Buffer[] = []
    for (let at = start; at < bytes.length; at += chunk) parts.push(Buffer.from(bytes.subarray(at, at + chunk)))
    const stream = Readable.from(parts)
    opened.push(stream)
    return stream
  }

async function unpack(compression: Compression, bytes: Uint8Array, chunk?: number): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const part of decompress(compression, opener(bytes, chunk))) parts.push(part)
  return Buffer.concat(parts).toString()
}

const text = Array.from({ length: 200 }, (_, i) => `${i},${(i * 7919) % 1000}\n`).join("")

describe.each<[Compression, (text: string) => Buffer]>([
  ["gzip", (text) => gzipSync(text)],
  ["zstd", (text) => zstdCompressSync(text)],
])("%s", (compression, pack) => {
  it("unpacks one member, several, and padding, in chunks of any size", async () => {
    const one = pack(text)
    for (const chunk of [1, 5, one.length, one.length + 3, 1 << 16]) {
      expect(await unpack(compression, one, chunk)).toBe(text)
      expect(await unpack(compression, Buffer.concat([one, pack("more\n"), pack("end\n")]), chunk)).toBe(
        `${text}more\nend\n`,
      )
      expect(await unpack(compression, Buffer.concat([one, Buffer.alloc(20)]), chunk)).toBe(text)
    }
  })

  it("refuses a file cut short at every place but between members", async () => {
    const first = pack("a,b\n1,2\n")
    const whole = Buffer.concat([first, pack("3,4\n5,6\n")])
    for (let length = 0; length < whole.length; length++) {
      const reading = unpack(compression, whole.subarray(0, length))
      const blind = compression === "zstd" ? 3 : 0
      if (length >= first.length && length <= first.length + blind) expect(await reading).toBe("a,b\n1,2\n")
      else
        await expect(reading, `${length} bytes`).rejects.toMatchObject({
          code: "DECODE",
          hint: expect.any(String) as string,
        })
    }
  })

  it("refuses what follows the last member and is no padding", async () => {
    for (const chunk of [4, 1 << 16])
      for (const tail of [Buffer.from("garbage"), Buffer.concat([Buffer.alloc(10), pack(text)])])
        await expect(unpack(compression, Buffer.concat([pack(text), tail]), chunk)).rejects.toMatchObject({
          code: "DECODE",
        })
  })

  it("refuses something else under its name", async () => {
    await expect(unpack(compression, Buffer.from("a,b\n1,2\n"))).rejects.toMatchObject({ code: "DECODE" })
  })

  it("is known by name and by its first bytes", () => {
    expect(compressionByMagic(pack("x"))).toBe(compression)
    const name = compression === "gzip" ? "a.csv.GZ" : "a.csv.zst"
    expect(compressionByName(name)).toBe(compression)
    expect(uncompressedName(name)).toBe("a.csv")
  })

  it("closes the file when the reader stops early", async () => {
    opened.length = 0
    const big = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * i * 31) & 255))
    for await (const _part of decompress(compression, opener(pack(big.toString("latin1")), 1000))) break
    expect(opened.map((stream) => stream.destroyed)).toEqual([true])
  })
})

it("gzip whose content was damaged does not pass", async () => {
  const whole = gzipSync(text)
  for (let at = 10; at < whole.length; at += 17) {
    const damaged = Buffer.from(whole)
    damaged[at] = (damaged[at] as number) ^ 0x10
    await expect(unpack("gzip", damaged), `byte ${at}`).rejects.toMatchObject({ code: "DECODE" })
  }
})

it("knows nothing of other names and bytes", () => {
  expect(compressionByName("a.csv")).toBeUndefined()
  expect(uncompressedName("a.csv")).toBe("a.csv")
  expect(compressionByMagic(Buffer.from("a,b\n"))).toBeUndefined()
  expect(compressionByMagic(Buffer.alloc(0))).toBeUndefined()
})

it("passes the file's own errors on", async () => {
  const broken = Object.assign(new Error("disk"), { code: "EIO" })
  const open = (): Readable =>
    Readable.from(
      (async function* () {
        yield gzipSync(text).subarray(0, 20)
        await Promise.reject(broken)
      })(),
    )
  await expect(
    (async () => {
      for await (const _ of decompress("gzip", open));
    })(),
  ).rejects.toBe(broken)
})
