import type * as sdk from "@aws-sdk/client-s3"
import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3"
import { settingValue, shownSetting, type Setting } from "../../core/environment.ts"
import { SpillwayError, systemCode, type ErrorCode } from "../../core/errors.ts"
import { optionalPackage } from "../../core/optional-package.ts"
import type { ObjectStorage } from "./object-storage.ts"

export interface S3Options {
  /** The address of an S3-compatible server. Default: `AWS_ENDPOINT_URL_S3`, or Amazon's. */
  endpoint?: Setting
  /** Default: `AWS_REGION` or the AWS profile; `us-east-1` where an endpoint is given. */
  region?: string
  /** Buckets stand in the path, not in the host name. Default: where an endpoint is given. */
  forcePathStyle?: boolean
}

export interface S3Access {
  readonly library: typeof sdk
  readonly client: S3Client
}

/** What `s3()` has put behind its client. */
export const accessOf = async (storage: ObjectStorage): Promise<S3Access> => (await storage.client()) as S3Access

/** Until a connection stands, and between two pieces of an answer, in milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000
const SILENCE_TIMEOUT_MS = 60_000

/**
 * An S3-compatible object storage, by the optional package `@aws-sdk/client-s3`. Credentials come from where that package looks for them
 * (environment, AWS profile, the machine's role) and are never shown.
 */
export function s3(options: S3Options = {}): ObjectStorage {
  let access: Promise<S3Access> | undefined
  const { endpoint, region } = options
  return {
    kind: "s3",
    description: {
      ...(endpoint === undefined ? {} : { endpoint: shownSetting(endpoint) }),
      ...(region === undefined ? {} : { region }),
    },
    client() {
      access ??= connect(options)
      // A package that is installed meanwhile, or a variable that is set, is to be found.
      access.catch(() => (access = undefined))
      return access
    },
  }
}

async function connect(options: S3Options): Promise<S3Access> {
  const library = await optionalPackage(() => import("@aws-sdk/client-s3"), "@aws-sdk/client-s3", "reading s3://")
  const endpoint = options.endpoint === undefined ? process.env["AWS_ENDPOINT_URL_S3"] : settingValue(options.endpoint)
  if (endpoint !== undefined && !/^https?:\/\//.test(endpoint))
    throw new SpillwayError("CONFIG", "the endpoint of the object storage is no http address", {
      where: "endpoint",
      hint: 'give the whole address: "https://storage.example.com"',
    })
  const region = options.region ?? (endpoint === undefined ? undefined : (process.env["AWS_REGION"] ?? "us-east-1"))
  const config: S3ClientConfig = {
    forcePathStyle: options.forcePathStyle ?? endpoint !== undefined,
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, socketTimeout: SILENCE_TIMEOUT_MS },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
  }
  return { library, client: new library.S3Client(config) }
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
