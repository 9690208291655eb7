import { mkdtemp, rm } from "node:fs/promises"
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3"

interface S3rverInstance {
  run(): Promise<AddressInfo>
  close(): Promise<void>
}
const S3rver = createRequire(import.meta.url)("s3rver") as new (options: Record<string, unknown>) => S3rverInstance

/** What became of a request for an object or a list. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly range: string | undefined
}

/** An S3-compatible server on this machine, behind a door that counts, cuts and refuses. */
export interface S3Server {
  readonly endpoint: string
  /** Since the last `forget`. */
  readonly asked: readonly Asked[]
  /** Answers that are under way. */
  readonly open: number
  /** Cuts the next answers to GET of objects, each after so many bytes. */
  cutAfter(...bytes: number[]): void
  /** From now on answers requests that match with this status and S3 error code; undefined: no longer. */
  refuse(rule: { path: RegExp; status: number; code: string } | undefined): void
  /** From now on answers lists with these pages of keys; undefined: no longer. (S3rver has no continuation tokens on this Node.) */
  answerLists(pages: readonly (readonly string[])[] | undefined): void
  forget(): void
  createBucket(name: string): Promise<void>
  put(bucket: string, key: string, body: string | Uint8Array): Promise<void>
  close(): Promise<void>
}

export async function s3Server(): Promise<S3Server> {
  const directory = await mkdtemp(join(tmpdir(), "spillway-s3-"))
  const inner = new S3rver({ port: 0, address: "127.0.0.1", silent: true, directory })
  const { port: innerPort } = await inner.run()
  let asked: Asked[] = []
  let cuts: number[] = []
  let refused: { path: RegExp; status: number; code: string } | undefined
  let pages: readonly (readonly string[])[] | undefined
  let open = 0

  const pass = (asking: IncomingMessage, answering: ServerResponse): void => {
    const path = decodeURIComponent(asking.url ?? "")
    const method = asking.method ?? ""
    asked.push({ method, path, range: asking.headers.range })
    if (refused?.path.test(path) === true) {
      answering.writeHead(refused.status, { "content-type": "application/xml" })
      answering.end(
        method === "HEAD"
          ? ""
          : `<?xml version="1.0"?><Error><Code>${refused.code}</Code><Message>no</Message></Error>`,
      )
      return
    }
    if (pages !== undefined && path.includes("list-type")) {
      answering.writeHead(200, { "content-type": "application/xml" })
      answering.end(listPage(pages, Number(/continuation-token=page-(\d+)/.exec(path)?.[1] ?? 0)))
      return
    }
    open++
    answering.once("close", () => open--)
    const onward = request(
      { port: innerPort, host: "127.0.0.1", method, path: asking.url, headers: asking.headers },
      (answer) => {
        answering.writeHead(answer.statusCode ?? 500, answer.headers)
        const cut = method === "GET" && !path.includes("list-type") ? cuts.shift() : undefined
        let sent = 0
        answer.on("data", (chunk: Buffer) => {
          const left = cut === undefined ? chunk.length : Math.max(0, Math.min(chunk.length, cut - sent))
          sent += left
          answering.write(chunk.subarray(0, left))
          if (left < chunk.length) setImmediate(() => answering.destroy())
        })
        answer.on("end", () => answering.end())
        answering.once("close", () => answer.destroy())
      },
    )
    onward.on("error", () => answering.destroy())
    asking.pipe(onward)
  }
  const door = createServer(pass)
  await new Promise<void>((resolve) => door.listen(0, "127.0.0.1", resolve))
  const endpoint = `http://127.0.0.1:${(door.address() as AddressInfo).port}`
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${innerPort}`,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" },
    requestChecksumCalculation: "WHEN_REQUIRED",
  })
  return {
    endpoint,
    get asked() {
      return asked
    },
    get open() {
      return open
    },
    cutAfter(...bytes) {
      cuts = bytes
    },
    refuse(rule) {
      refused = rule
    },
    answerLists(given) {
      pages = given
    },
    forget() {
      asked = []
    },
    async createBucket(name) {
      await client.send(new CreateBucketCommand({ Bucket: name }))
    },
    async put(bucket, key, body) {
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }))
    },
    async close() {
      client.destroy()
      door.closeAllConnections()
      await new Promise((resolve) => door.close(resolve))
      await inner.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

function listPage(pages: readonly (readonly string[])[], n: number): string {
  const more = n + 1 < pages.length
  const contents = (pages[n] ?? []).map(
    (key) => `<Contents><Key>${key}</Key><Size>1</Size><ETag>&quot;${key}&quot;</ETag></Contents>`,
  )
  const next = more ? `<NextContinuationToken>page-${n + 1}</NextContinuationToken>` : ""
  return `<?xml version="1.0"?><ListBucketResult><IsTruncated>${more}</IsTruncated>${next}${contents.join("")}</ListBucketResult>`
}
