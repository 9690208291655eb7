import { pipeline, type Readable } from "node:stream"
import { createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from "node:zlib"
import { SpillwayError, systemCode } from "../core/errors.ts"

interface Codec {
  /** What file names end in. */
  readonly extension: string
  /** What files begin with. */
  readonly magic: readonly number[]
  readonly create: () => Gunzip | ZstdDecompress
}

const OUTPUT_CHUNK = 1 << 18

const CODECS = {
  gzip: { extension: ".gz", magic: [0x1f, 0x8b], create: () => createGunzip({ chunkSize: OUTPUT_CHUNK }) },
  zstd: {
    extension: ".zst",
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    create: () => createZstdDecompress({ chunkSize: OUTPUT_CHUNK }),
  },
} as const satisfies Record<string, Codec>

export type Compression = keyof typeof CODECS

/** Bytes of a file that are enough for `compressionByMagic`. */
export const MAGIC_BYTES = 4

const codecs = Object.entries(CODECS) as [Compression, Codec][]

/** The compression that a file's name tells (`.gz`, `.zst`), or undefined. */
export function compressionByName(name: string): Compression | undefined {
  return codecs.find(([, codec]) => name.toLowerCase().endsWith(codec.extension))?.[0]
}

/** The compression that a file's first bytes tell, or undefined. */
export function compressionByMagic(head: Uint8Array): Compression | undefined {
  return codecs.find(([, codec]) => codec.magic.every((byte, i) => head[i] === byte))?.[0]
}

/** A file's name without what its compression adds to it. */
export function uncompressedName(name: string): string {
  const compression = compressionByName(name)
  return compression === undefined ? name : name.slice(0, -CODECS[compression].extension.length)
}

/** The bytes inside a compressed file, as a stream. */
export interface Decompression extends AsyncIterable<Uint8Array> {
  /** Compressed bytes taken in so far. */
  readonly consumed: number
}

/**
 * Decompresses the file that `open` reads from a byte offset on: any number of members one after the other, padded with
 * zeros or not. Throws `DECODE`, which holds the whole file, when it is truncated or damaged, or when anything but zeros
 * follows the last member. (A cut exactly between two members cannot be told from the end; nor, of zstd, one up to 3 bytes
 * after it.) Errors of the file come as they are. The file is closed when the iteration ends, however it ends.
 */
export function decompress(compression: Compression, open: (start: number) => Readable): Decompression {
  const engine = CODECS[compression].create()
  return {
    get consumed() {
      return engine.bytesWritten
    },
    async *[Symbol.asyncIterator]() {
      const file = open(0)
      const closed = whenClosed(file)
      // The iteration below gets every error; the callback only keeps it from being thrown a second time.
      pipeline(file, engine, () => undefined)
      try {
        for await (const chunk of engine) yield chunk as Buffer
      } catch (error) {
        throw damaged(error, compression)
      } finally {
        engine.destroy()
        file.destroy()
        await closed
      }
      await expectPadding(open(engine.bytesWritten), compression, engine.bytesWritten)
    },
  }
}

/** Resolves when the stream has let go of its file. */
export function whenClosed(stream: Readable): Promise<void> {
  if (stream.closed) return Promise.resolve()
  return new Promise((resolve) => stream.once("close", resolve))
}

async function expectPadding(rest: Readable, compression: Compression, offset: number): Promise<void> {
  const closed = whenClosed(rest)
  try {
    for await (const chunk of rest) {
      if (!(chunk as Buffer).some((byte) => byte !== 0)) continue
      throw new SpillwayError(
        "DECODE",
        `something that is not ${compression} follows after ${offset} compressed bytes`,
        {
          hint: "the file is damaged, or two were joined: get it again from where it came",
        },
      )
    }
  } finally {
    rest.destroy()
    await closed
  }
}

function damaged(error: unknown, compression: Compression): unknown {
  const code = systemCode(error)
  if (code === undefined || !/^(Z|ZSTD)_/.test(code)) return error
  const reason = error instanceof Error ? error.message : code
  const what = code === "Z_BUF_ERROR" ? "ends too early (truncated)" : "is damaged"
  return new SpillwayError("DECODE", `the ${compression} data ${what}: ${reason}`, {
    cause: error,
    hint: "get the file again from where it came; nothing of it was loaded",
  })
}
