import type { S3ClientConfig } from "@aws-sdk/client-s3"
import { settingValue, shownSetting, type Setting } from "../../core/environment.ts"
import { SpillwayError } from "../../core/errors.ts"
import { optionalPackage } from "../../core/optional-package.ts"
import type { S3Access } from "./access.ts"
import type { ObjectStorage } from "./object-storage.ts"
import { s3Folder } from "./output.ts"

export interface S3Options {
  /** The address of an S3-compatible server. Default: `AWS_ENDPOINT_URL_S3`, or Amazon's. */
  endpoint?: Setting
  /** Default: `AWS_REGION` or the AWS profile; `us-east-1` where an endpoint is given. */
  region?: string
  /** Buckets stand in the path, not in the host name. Default: where an endpoint is given. */
  forcePathStyle?: boolean
}

const SILENT = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

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
  const storage: ObjectStorage = {
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
    folder: (address, ports) => s3Folder(storage, address, ports),
  }
  return storage
}

async function connect(options: S3Options): Promise<S3Access> {
  const library = await optionalPackage(() => import("@aws-sdk/client-s3"), "@aws-sdk/client-s3", "s3://")
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
    // Content-MD5 is understood by all servers, checksums at the end of a body only by some.
    requestChecksumCalculation: "WHEN_REQUIRED",
    // It would write to the console otherwise; what matters is in the errors.
    logger: SILENT,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
  }
  return { library, client: new library.S3Client(config) }
}
