import { Readable } from "node:stream"
import { SpillwayError, systemCode } from "../../core/errors.ts"
import type { ChunksOptions, Files } from "../../core/files.ts"
import type { Ports } from "../../core/ports.ts"
import { backoff } from "../../resilience/backoff.ts"
import { changedWhileRead, vanished } from "../file-errors.ts"
import { objectStat, s3Address } from "./objects.ts"
import type { ObjectStorage } from "./object-storage.ts"
import { accessOf, statusOf, storageError } from "./access.ts"

/** What reading a file asks of the file system. */
export type ReadableFiles = Pick<Files, "stat" | "chunks" | "read">

/** Answers cut off one after the other, without a byte in between. */
const MOST_CUTS = 5

/**
 * The objects of a storage, read as files are, by paths as `s3://bucket/key`. An answer that is cut off is asked for again from the byte where it
 * ended, of the same version of the object: one that is another by then is an error, as with files.
 */
export function s3Files(storage: ObjectStorage, ports: Ports): ReadableFiles {
  /** By path, of the versions that are being read. */
  const etags = new Map<string, string>()
  const chunks = (path: string, options: ChunksOptions = {}): AsyncGenerator<Uint8Array, void, void> =>
    objectBytes(storage, ports, { path, etag: etags.get(path) }, options)
  return {
    async stat(path) {
      const { client, library } = await accessOf(storage)
      const { bucket, key } = s3Address(path)
      const head = await client
        .send(new library.HeadObjectCommand({ Bucket: bucket, Key: key }))
        .catch((error: unknown) => {
          throw readingError(error, path)
        })
      etags.set(path, head.ETag ?? "")
      return { ...objectStat(head.ContentLength ?? 0, head.ETag ?? ""), isFile: true, isDirectory: false }
    },
    chunks,
    read: (path, { start = 0, signal } = {}) => asStream((stop) => chunks(path, { start, signal: stop }), signal),
  }
}

async function* objectBytes(
  storage: ObjectStorage,
  { clock, random }: Ports,
  object: { path: string; etag: string | undefined },
  { start = 0, end = Infinity, signal }: ChunksOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const pause = backoff({})
  let at = start
  for (let cuts = 0, waited = 0; at < end;) {
    signal?.throwIfAborted()
    const before = at
    try {
      const answer = await openObject(storage, object, { start: at, end, signal })
      if (answer === undefined) return
      for await (const chunk of answer.body) {
        at += chunk.length
        yield chunk
      }
      if (at >= answer.end) return
      throw new SpillwayError("NETWORK", `the object storage's answer ended ${answer.end - at} bytes too early`)
    } catch (error) {
      signal?.throwIfAborted()
      const failure = readingError(error, object.path)
      cuts = at > before ? 1 : cuts + 1
      if (failure.class !== "transient" || failure.code === "DATA_LOSS" || cuts >= MOST_CUTS) throw failure
      waited = pause(cuts, waited, false, random)
      await clock.sleep(waited, signal)
    }
  }
}

/** The bytes from `start` up to `end`, or to where the object ends; undefined when it ends before. */
async function openObject(
  storage: ObjectStorage,
  { path, etag }: { path: string; etag: string | undefined },
  { start, end, signal }: { start: number; end: number; signal: AbortSignal | undefined },
): Promise<{ body: AsyncIterable<Uint8Array>; end: number } | undefined> {
  const { client, library } = await accessOf(storage)
  const { bucket, key } = s3Address(path)
  const command = new library.GetObjectCommand({
    Bucket: bucket,
    Key: key,
    ...(start === 0 && end === Infinity ? {} : { Range: `bytes=${start}-${end === Infinity ? "" : end - 1}` }),
    ...(etag === undefined || etag === "" ? {} : { IfMatch: etag }),
  })
  try {
    const answer = await client.send(command, signal === undefined ? {} : { abortSignal: signal })
    const body = answer.Body as Readable | undefined
    // Not every server heeds If-Match.
    if (etag !== undefined && answer.ETag !== undefined && answer.ETag !== etag) {
      body?.destroy()
      throw changedWhileRead(path)
    }
    if (body === undefined) return undefined
    return { body: body as AsyncIterable<Uint8Array>, end: start + (answer.ContentLength ?? 0) }
  } catch (error) {
    // There is nothing from `start` on.
    if (statusOf(error) === 416) return undefined
    if (statusOf(error) === 412) throw changedWhileRead(path)
    throw error
  }
}

/** An object that may not be read, or is gone, holds itself alone, as a file does. */
function readingError(error: unknown, path: string): SpillwayError {
  if (error instanceof SpillwayError) return error
  const status = statusOf(error)
  if (status === 404) return vanished(path, error)
  if (status === 403)
    return new SpillwayError("RESOURCE", "the object storage does not let the object be read (403)", {
      where: path,
      hint: "give these credentials the right to read it (s3:GetObject)",
      cause: error,
    })
  const cut =
    systemCode(error) === undefined && error instanceof Error && /aborted|premature|socket hang up/i.test(error.message)
  return cut
    ? new SpillwayError("NETWORK", `the object storage cut the answer off: ${error.message}`, {
        where: path,
        cause: error,
      })
    : storageError(error, path)
}

/** A stream that gives up what it waits for as soon as it is destroyed. */
function asStream(open: (signal: AbortSignal) => AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Readable {
  const given = new AbortController()
  const stop = signal === undefined ? given.signal : AbortSignal.any([given.signal, signal])
  const stream = Readable.from(open(stop), { objectMode: false })
  const destroy = stream._destroy.bind(stream)
  stream._destroy = (error, done) => {
    given.abort()
    destroy(error, done)
  }
  return stream
}
