import type * as sdk from "@aws-sdk/client-s3"
import type { S3Client } from "@aws-sdk/client-s3"
import { SpillwayError, systemCode, type ErrorCode } from "../../core/errors.ts"
import type { ObjectStorage } from "./object-storage.ts"

export interface S3Access {
  readonly library: typeof sdk
  readonly client: S3Client
}

/** What `s3()` has put behind its client. */
export const accessOf = async (storage: ObjectStorage): Promise<S3Access> => (await storage.client()) as S3Access

/** The status of an answer that was an error; undefined where there was none. */
export function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode
}

const CODES: Readonly<Record<string, ErrorCode>> = {
  NoSuchBucket: "CONFIG",
  InvalidBucketName: "CONFIG",
  PermanentRedirect: "CONFIG",
  AuthorizationHeaderMalformed: "CONFIG",
  AccessDenied: "AUTH",
  Forbidden: "AUTH",
  InvalidAccessKeyId: "AUTH",
  SignatureDoesNotMatch: "AUTH",
  ExpiredToken: "AUTH",
  CredentialsProviderError: "AUTH",
  TokenProviderError: "AUTH",
  SlowDown: "HTTP_429",
  TimeoutError: "TIMEOUT",
  ENOTFOUND: "DNS",
  EAI_AGAIN: "DNS",
  ECONNREFUSED: "NETWORK",
  ECONNRESET: "NETWORK",
  EPIPE: "NETWORK",
  ETIMEDOUT: "NETWORK",
  EHOSTUNREACH: "NETWORK",
  ENETUNREACH: "NETWORK",
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  CONFIG: "check the bucket's name, the region and the endpoint",
  AUTH: "check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and that they may list the bucket and read its objects",
  TLS: "check the endpoint's certificate",
}

interface ServiceError {
  readonly name?: string
  readonly message?: string
  readonly $metadata?: { readonly httpStatusCode?: number }
}

/** What the storage or the way to it says, as a SpillwayError at `where`. */
export function storageError(error: unknown, where: string): SpillwayError {
  if (error instanceof SpillwayError) return error
  const { name = "", message = String(error), $metadata } = (error ?? {}) as ServiceError
  const status = $metadata?.httpStatusCode
  const code = storageCode(name, systemCode(error) ?? "", message, status)
  const what = name === "" || name === "Error" || message === "UnknownError" ? message : `${name}: ${message}`
  const said = message === "UnknownError" ? (name === "" ? `status ${status}` : name) : what
  return new SpillwayError(code, `the object storage: ${said}`, {
    where,
    hint: HINTS[code] ?? "check that the endpoint is reachable, then run again",
    cause: error,
    context: { status },
  })
}

function storageCode(name: string, system: string, message: string, status: number | undefined): ErrorCode {
  const known = CODES[name] ?? CODES[system]
  if (known !== undefined) return known
  if (/region is missing/i.test(message)) return "CONFIG"
  if (/CERT|SELF_SIGNED|TLS|SSL/.test(system)) return "TLS"
  if (status === undefined) return system === "" ? "UNKNOWN" : "NETWORK"
  if (status === 401 || status === 403) return "AUTH"
  if (status === 429) return "HTTP_429"
  if (status === 301 || status === 307) return "CONFIG"
  return status >= 500 ? "HTTP_5XX" : status >= 400 ? "HTTP_4XX" : "UNKNOWN"
}
