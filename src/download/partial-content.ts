import { createHash } from "node:crypto"
import { httpDate } from "../resilience/retry-after.ts"

type Headers = Readonly<Record<string, string>>

/** What tells one state of a file on a server from another. */
export interface Version {
  /** A strong ETag or a date, as it goes into `If-Range`. */
  readonly validator: string
  /** Bytes of the whole; undefined where the server does not say. */
  readonly total: number | undefined
}

/** A date is trusted when it was that old: the file may change twice within a second. */
const SETTLED_MS = 60_000

/** Bytes of the whole body that a full answer announces; undefined where it does not, or where the body is compressed. */
export const announcedBytes = (headers: Headers): number | undefined =>
  isEncoded(headers) || !/^\d+$/.test(headers["content-length"] ?? "") ? undefined : Number(headers["content-length"])

/** The version that a full answer is of; undefined where parts of it could not be put together safely. */
export function versionOf(headers: Headers): Version | undefined {
  if (isEncoded(headers) || /^none$/i.test(headers["accept-ranges"]?.trim() ?? "")) return undefined
  const validator = strongTag(headers["etag"]) ?? settledDate(headers)
  return validator === undefined ? undefined : { validator, total: announcedBytes(headers) }
}

/** Bytes of the whole, when a partial answer goes on at byte `offset` of this version; undefined when it is something else. */
export function continuation(
  headers: Headers,
  offset: number,
  version: Version,
): { total: number | undefined } | undefined {
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers["content-range"]?.trim() ?? "") ?? []
  if (isEncoded(headers) || from === undefined || Number(from) !== offset) return undefined
  const whole = total === "*" ? version.total : Number(total)
  if (version.total !== undefined && whole !== version.total) return undefined
  return isOf(headers, version) ? { total: whole } : undefined
}

/** Where the server left `If-Range` out of account, the answer itself tells. */
function isOf(headers: Headers, { validator }: Version): boolean {
  if (validator.startsWith('"')) return headers["etag"] === validator
  return (headers["last-modified"] ?? validator) === validator
}

/** A name for a version of an address, for files: 16 hexadecimal digits. */
export const versionName = (url: URL, { validator, total }: Version): string =>
  createHash("sha256")
    .update(JSON.stringify([url.href, validator, total ?? null]))
    .digest("hex")
    .slice(0, 16)

const isEncoded = (headers: Headers): boolean => !/^(?:identity)?$/i.test(headers["content-encoding"]?.trim() ?? "")

/** Weak tags stand for bodies that are as good as equal, not equal. */
const strongTag = (tag: string | undefined): string | undefined => (tag?.startsWith('"') ? tag : undefined)

function settledDate(headers: Headers): string | undefined {
  const text = headers["last-modified"]
  const [modified, now] = [httpDate(text ?? ""), httpDate(headers["date"] ?? "")]
  return modified !== undefined && now !== undefined && now - modified >= SETTLED_MS ? text : undefined
}
