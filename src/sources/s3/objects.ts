import picomatch from "picomatch"
import type { SourceContext, SourcePartition } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import type { FolderFilter } from "../file-patterns.ts"
import type { ObjectStorage } from "./object-storage.ts"
import { accessOf, storageError, type S3Access } from "./access.ts"

/** A bucket, and a key or a pattern of keys in it. */
export interface S3Address {
  readonly bucket: string
  readonly key: string
}

export const isS3 = (pattern: string): boolean => /^s3:\/\//i.test(pattern)

/** The parts of `s3://bucket/key`. Throws `CONFIG` when there is no bucket. */
export function s3Address(address: string): S3Address {
  const match = /^s3:\/\/([^/*?[\]{}]+)(?:\/(.*))?$/is.exec(address)
  if (match !== null) return { bucket: match[1] as string, key: match[2] ?? "" }
  throw new SpillwayError("CONFIG", `${address} names no bucket`, {
    where: address,
    hint: 'write "s3://bucket/folder/*.csv"',
  })
}

/** An object as the storage lists it. */
interface Listed {
  readonly key: string
  readonly size: number
  readonly etag: string
}

/**
 * The objects that a pattern finds: the one of that key; all below `…/` (or below a name that is no object) with a known extension; what a glob matches. The
 * version is the ETag and the size: nothing is read to know it. Throws `CONFIG` for a key that is not there, and what the storage says.
 */
export async function findObjects(
  pattern: string,
  storage: ObjectStorage,
  inFolder: FolderFilter,
  context: SourceContext,
): Promise<SourcePartition[]> {
  const { bucket, key } = s3Address(pattern)
  const access = await accessOf(storage)
  const { base, glob, isGlob } = picomatch.scan(key)
  const found: SourcePartition[] = []
  const collect = async (prefix: string, accept: (key: string) => boolean): Promise<void> => {
    for await (const object of listed(access, bucket, prefix, context.signal))
      if (!object.key.endsWith("/") && accept(object.key)) found.push(asPartition(bucket, object))
  }
  if (isGlob) {
    const prefix = base === "" ? "" : `${base}/`
    const matches = picomatch(glob)
    await collect(prefix, (name) => name.startsWith(prefix) && matches(name.slice(prefix.length)))
    return found
  }
  const folder = key === "" || key.endsWith("/") ? key : `${key}/`
  if (folder !== key) await collect(key, (name) => name === key)
  if (found.length > 0) return found
  await collect(folder, inFolder)
  if (found.length === 0)
    throw new SpillwayError("CONFIG", `there is no object "${pattern}", and none below it`, {
      where: pattern,
      hint: "check the bucket and the key",
    })
  return found
}

/** The objects whose keys begin with `prefix`; those below a further `/` only where there is no `delimiter`. */
export async function* listed(
  { client, library }: S3Access,
  bucket: string,
  prefix: string,
  signal?: AbortSignal,
  delimiter?: "/",
): AsyncGenerator<Listed, void, void> {
  const where = `s3://${bucket}/${prefix}`
  let token: string | undefined
  do {
    const command = new library.ListObjectsV2Command({
      Bucket: bucket,
      Prefix: prefix,
      ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
      ...(token === undefined ? {} : { ContinuationToken: token }),
    })
    const page = await client
      .send(command, signal === undefined ? {} : { abortSignal: signal })
      .catch((error: unknown) => {
        signal?.throwIfAborted()
        throw storageError(error, where)
      })
    for (const { Key, Size, ETag } of page.Contents ?? [])
      if (Key !== undefined) yield { key: Key, size: Size ?? 0, etag: ETag ?? "" }
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined
  } while (token !== undefined)
}

function asPartition(bucket: string, { key, size, etag }: Listed): SourcePartition {
  return {
    key: `s3://${bucket}/${key}`,
    version: `etag:${etag}:${size}`,
    bytes: size,
    stamp: { ...objectStat(size, etag) },
  }
}

/** What stands for the times and the inode of a file. */
export const objectStat = (
  size: number,
  etag: string,
): { size: number; modified: string; changed: string; inode: string } => ({
  size,
  modified: "0",
  changed: "0",
  inode: etag,
})
