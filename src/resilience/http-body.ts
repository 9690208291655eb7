import { finished, pipeline, type Readable } from "node:stream"
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib"
import { SpillwayError } from "../core/errors.ts"
import { transportError } from "./http-errors.ts"
import { cancellation } from "./policy.ts"

export interface BodyLimits {
  /** Of the body as it travels, and again after decompression. */
  readonly maxBytes: number
  /** Of the decompressed body ÷ the body as it travels, beyond the first 16 MiB. */
  readonly maxExpansion: number
  /** The address as it may be shown. */
  readonly where: string
  readonly signal: AbortSignal | undefined
}

/** So much is let through however small its compressed form: a page of zeros is no attack. */
const FREE_EXPANSION_BYTES = 16 * 1024 * 1024

/** What can be decompressed, best first. */
export const ACCEPTED_ENCODINGS = "zstd, br, gzip"

const DECODERS: Readonly<Record<string, () => NodeJS.ReadWriteStream & Readable>> = {
  gzip: () => createGunzip(),
  "x-gzip": () => createGunzip(),
  deflate: () => createInflate(),
  br: () => createBrotliDecompress(),
  zstd: () => createZstdDecompress(),
}

/**
 * The chunks of a body, decompressed. Ends with an error (`RESOURCE`) as soon as there are more than `maxBytes`, however small the compressed
 * form: no more than a chunk beyond is ever made. The connection is closed when it ends early.
 */
export async function* readChunks(
  body: Readable,
  headers: Readonly<Record<string, string>>,
  limits: BodyLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reading = bodyReading(body, headers, limits)
  try {
    reading.begin()
    const encodings = encodingsOf(headers["content-encoding"])
    yield* encodings.length > 0 ? expanded(body, encodings, limits) : bounded(body, limits)
  } catch (error) {
    throw reading.failure(error)
  } finally {
    reading.end()
  }
}

/** A whole body. */
export async function readWhole(
  body: Readable,
  headers: Readonly<Record<string, string>>,
  limits: BodyLimits,
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  if (encodingsOf(headers["content-encoding"]).length > 0)
    for await (const chunk of readChunks(body, headers, limits)) chunks.push(chunk)
  else await collect(body, headers, limits, chunks)
  return chunks.length === 1 && Buffer.isBuffer(chunks[0]) ? chunks[0] : Buffer.concat(chunks)
}

/** As `readChunks` does for a body that is not compressed, without its two generators: most bodies are so, and many are small. */
async function collect(
  body: Readable,
  headers: Readonly<Record<string, string>>,
  limits: BodyLimits,
  chunks: Uint8Array[],
): Promise<void> {
  const { where, maxBytes } = limits
  const reading = bodyReading(body, headers, limits)
  let bytes = 0
  try {
    reading.begin()
    await new Promise<void>((resolve, reject) => {
      body.on("data", (chunk: Uint8Array) => {
        bytes += chunk.byteLength
        if (bytes > maxBytes) reject(tooLarge(maxBytes, where))
        else chunks.push(chunk)
      })
      finished(body, (error) => (error ? reject(error) : resolve()))
    })
  } catch (error) {
    throw reading.failure(error)
  } finally {
    reading.end()
  }
}

/** What goes around the reading of a body: it is refused or given up at once, says why it failed, and leaves nothing open. */
function bodyReading(
  body: Readable,
  headers: Readonly<Record<string, string>>,
  { where, signal, maxBytes }: BodyLimits,
): { begin(): void; failure(error: unknown): SpillwayError; end(): void } {
  const abort = (): void => void body.destroy(signal === undefined ? undefined : cancellation(signal))
  return {
    begin() {
      if (signal?.aborted) throw cancellation(signal)
      if (Number(headers["content-length"]) > maxBytes) throw tooLarge(maxBytes, where)
      signal?.addEventListener("abort", abort, { once: true })
    },
    failure: (error) => (signal?.aborted ? cancellation(signal) : transportError(error, where)),
    end() {
      signal?.removeEventListener("abort", abort)
      body.destroy()
    },
  }
}

async function* bounded(
  chunks: AsyncIterable<unknown>,
  { maxBytes, where }: BodyLimits,
  onBytes: (bytes: number) => void = () => undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  let bytes = 0
  for await (const chunk of chunks as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw tooLarge(maxBytes, where)
    onBytes(bytes)
    yield chunk
  }
}

/** Decompressed, as long as that is in proportion to what came. */
async function* expanded(
  chunks: AsyncIterable<unknown>,
  encodings: readonly string[],
  limits: BodyLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { where, maxExpansion } = limits
  let travelled = 0
  const counted = bounded(chunks, limits, (bytes) => (travelled = bytes))
  const requireProportion = (bytes: number): void => {
    if (bytes > FREE_EXPANSION_BYTES && bytes > maxExpansion * travelled) throw outOfProportion(maxExpansion, where)
  }
  yield* bounded(decompressed(counted, encodings, where), limits, requireProportion)
}

function decompressed(
  chunks: AsyncIterable<Uint8Array>,
  encodings: readonly string[],
  where: string,
): AsyncIterable<unknown> {
  if (encodings.length > MOST_ENCODINGS) throw unknownEncoding(encodings.join(", "), where)
  // The encoding that was applied last is named last, and comes off first.
  const decoders = encodings.toReversed().map((encoding) => {
    const make = DECODERS[encoding]
    if (make === undefined) throw unknownEncoding(encoding, where)
    return make()
  })
  // A failure shows when the last stream is read.
  return pipeline([chunks, ...decoders], () => undefined) as unknown as Readable
}

/** More of them on top of one another serve nobody but an attacker. */
const MOST_ENCODINGS = 3

function encodingsOf(header: string | undefined): readonly string[] {
  const named = (header ?? "").toLowerCase().split(",")
  return named.map((name) => name.trim()).filter((name) => name !== "" && name !== "identity")
}

const tooLarge = (maxBytes: number, where: string): SpillwayError =>
  new SpillwayError("RESOURCE", `the body is larger than ${maxBytes} bytes`, {
    where,
    hint: "raise maxBodyBytes if so much is expected, or ask for smaller pages",
    context: { maxBodyBytes: maxBytes },
  })

const outOfProportion = (maxExpansion: number, where: string): SpillwayError =>
  new SpillwayError("RESOURCE", `the body grows to more than ${maxExpansion} times its size when it is decompressed`, {
    where,
    hint: "it may be made to flood whoever reads it; if it is meant to be so, raise maxExpansion",
    context: { maxExpansion },
  })

const unknownEncoding = (encoding: string, where: string): SpillwayError =>
  new SpillwayError("DECODE", `the body is compressed as ${JSON.stringify(encoding)}, which was not asked for`, {
    class: "terminal",
    where,
    hint: `have the server send one of: ${ACCEPTED_ENCODINGS}`,
  })
