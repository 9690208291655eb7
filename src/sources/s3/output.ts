import { createHash } from "node:crypto"
import { SpillwayError } from "../../core/errors.ts"
import type { OutputFolder } from "../../core/output-folder.ts"
import type { Ports } from "../../core/ports.ts"
import { isRetryable } from "../../resilience/retryable.ts"
import { retry } from "../../resilience/retry-policy.ts"
import { accessOf, statusOf, storageError } from "./access.ts"
import { listed, s3Address } from "./objects.ts"
import type { ObjectStorage } from "./object-storage.ts"

/** More cannot be put in one request, and an object that is put in several is not there at once. */
const MOST_BYTES = 5 * 1024 ** 3

/** What an object carries of the file that it was put from. */
const DIGEST = "sha256"

/** The objects directly below `s3://bucket/prefix`, as files of a folder. What fails for a moment is tried again. */
export function s3Folder(storage: ObjectStorage, address: string, ports: Ports): OutputFolder {
  const { bucket, key } = s3Address(address)
  const prefix = key === "" ? "" : `${key.replace(/\/+$/, "")}/`
  const where = (name: string): string => `s3://${bucket}/${prefix}${name}`
  const trying = <T>(name: string, ask: () => Promise<T>): Promise<T> => {
    const once = (): Promise<T> =>
      ask().catch((error: unknown) => {
        throw writingError(error, where(name))
      })
    return retry({ ports, what: where(name), keepCode: true, retryIf: isRetryable }).execute(once)
  }
  return {
    list: () =>
      trying("", async () => {
        const names: string[] = []
        for await (const object of listed(await accessOf(storage), bucket, prefix, undefined, "/"))
          if (object.key.length > prefix.length) names.push(object.key.slice(prefix.length))
        return names
      }),
    async holds(name, path) {
      const { sha256, size } = await digestsOf(path, ports)
      return trying(name, async () => {
        const { client, library } = await accessOf(storage)
        try {
          const head = await client.send(new library.HeadObjectCommand({ Bucket: bucket, Key: prefix + name }))
          return head.ContentLength === size && head.Metadata?.[DIGEST] === sha256
        } catch (error) {
          if (statusOf(error) === 404) return false
          throw error
        }
      })
    },
    async put(name, path) {
      const { sha256, md5, size } = await digestsOf(path, ports)
      if (size > MOST_BYTES) throw tooLarge(where(name), size)
      await trying(name, async () => {
        const { client, library } = await accessOf(storage)
        const body = ports.files.read(path)
        try {
          await client.send(
            new library.PutObjectCommand({
              Bucket: bucket,
              Key: prefix + name,
              Body: body,
              ContentLength: size,
              ContentMD5: md5,
              ContentType: name.endsWith(".csv") ? "text/csv; charset=utf-8" : "application/x-ndjson",
              Metadata: { [DIGEST]: sha256 },
            }),
          )
        } finally {
          body.destroy()
        }
      })
    },
    remove: (name) =>
      trying(name, async () => {
        const { client, library } = await accessOf(storage)
        await client.send(new library.DeleteObjectCommand({ Bucket: bucket, Key: prefix + name }))
      }),
  }
}

async function digestsOf(path: string, { files }: Ports): Promise<{ sha256: string; md5: string; size: number }> {
  const sha256 = createHash("sha256")
  const md5 = createHash("md5")
  let size = 0
  for await (const chunk of files.chunks(path)) {
    sha256.update(chunk)
    md5.update(chunk)
    size += chunk.length
  }
  return { sha256: sha256.digest("hex"), md5: md5.digest("base64"), size }
}

function writingError(error: unknown, where: string): SpillwayError {
  const failure = storageError(error, where)
  if (failure.code !== "AUTH") return failure
  return new SpillwayError("AUTH", failure.message, {
    where,
    cause: error,
    hint: "check the credentials, and that they may list the bucket (s3:ListBucket) and put, read and delete its objects (s3:PutObject, s3:GetObject, s3:DeleteObject)",
  })
}

const tooLarge = (where: string, size: number): SpillwayError =>
  new SpillwayError(
    "RESOURCE",
    `the file has ${size} bytes, and an object storage takes at most ${MOST_BYTES} at once`,
    {
      where,
      hint: "set maxRecordsPerFile, so that a partition becomes several files",
    },
  )
