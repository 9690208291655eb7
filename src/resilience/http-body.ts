import { pipeline, type Readable } from "node:stream"
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib"
import { SpillwayError } from "../core/errors.ts"
import { transportError } from "./http-errors.ts"
import { cancellation } from "./policy.ts"

export interface BodyLimits {
  /** Of the body as it travels, and again after decompression. */
  readonly maxBytes: number
  /** The address as it may be shown. */
  readonly where: string
  readonly signal: AbortSignal | undefined
}

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
  const { where, signal, maxBytes } = limits
  const abort = (): void => void body.destroy(signal === undefined ? undefined : cancellation(signal))
  try {
    if (signal?.aborted) throw cancellation(signal)
    if (Number(headers["content-length"]) > maxBytes) throw tooLarge(maxBytes, where)
    signal?.addEventListener("abort", abort, { once: true })
    const encodings = encodingsOf(headers["content-encoding"])
    let chunks: AsyncIterable<unknown> = body
    if (encodings.length > 0) chunks = decompressed(bounded(body, limits), encodings, where)
    yield* bounded(chunks, limits)
  } catch (error) {
    if (signal?.aborted) throw cancellation(signal)
    throw transportError(error, where)
  } finally {
    signal?.removeEventListener("abort", abort)
    body.destroy()
  }
}

/** A whole body. */
export async function readWhole(
  body: Readable,
  headers: Readonly<Record<string, string>>,
  limits: BodyLimits,
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of readChunks(body, headers, limits)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function* bounded(
  chunks: AsyncIterable<unknown>,
  limits: BodyLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  let bytes = 0
  for await (const chunk of chunks as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength
    if (bytes > limits.maxBytes) throw tooLarge(limits.maxBytes, limits.where)
    yield chunk
  }
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

const unknownEncoding = (encoding: string, where: string): SpillwayError =>
  new SpillwayError("DECODE", `the body is compressed as ${JSON.stringify(encoding)}, which was not asked for`, {
    class: "terminal",
    where,
    hint: `have the server send one of: ${ACCEPTED_ENCODINGS}`,
  })
