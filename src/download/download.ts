import { SpillwayError } from "../core/errors.ts"
import { parseAddress, shownAddress } from "../resilience/http-address.ts"
import { httpClient, type HttpClient, type HttpClientOptions } from "../resilience/http-client.ts"
import type { HttpStream } from "../resilience/http-response.ts"
import { systemPolicyPorts, type PolicyPorts } from "../resilience/policy.ts"
import type { RedirectNotice } from "../resilience/redirects.ts"
import { isRefusedUnread, isRepeatable } from "../resilience/repeatable.ts"
import { isRetryable } from "../resilience/retryable.ts"
import { retry, type RetryNotice, type RetryOptions } from "../resilience/retry-policy.ts"
import { suppressions, type SuppressionRule, type Suppressions } from "../resilience/suppression.ts"
import type { Destination } from "./destination.ts"
import { announcedBytes, continuation, versionName, versionOf, type Version } from "./partial-content.ts"

export interface DownloadOptions {
  readonly url: string | URL
  /** Default GET. Only what a GET gives can be gone on with in its middle. */
  readonly method?: string | undefined
  /** `accept-encoding` is `identity` unless given: parts of a compressed body cannot be put together. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | Uint8Array | undefined
  readonly destination: Destination
  readonly http?:
    | Omit<HttpClientOptions, "baseUrl" | "headers" | "retry" | "budget" | "breaker" | "suppress" | "onEvent" | "ports">
    | undefined
  /** Tries are counted from one again when one got 256 KiB further. No deadline unless given. */
  readonly retry?:
    Pick<RetryOptions, "attempts" | "deadline" | "retryAfterCeiling" | "baseDelay" | "maxDelay"> | undefined
  /** Failures that are expected: the download then ends as `suppressed`, unless part of the body was handed on already. */
  readonly suppress?: readonly SuppressionRule[] | undefined
  readonly signal?: AbortSignal | undefined
  readonly on?: ((event: DownloadEvent) => void) | undefined
  readonly ports?: PolicyPorts | undefined
}

export type DownloadEvent =
  /** An answer whose body is taken, from byte `from` of the whole on. */
  | { readonly type: "answer"; readonly status: number; readonly from: number; readonly total: number | undefined }
  | { readonly type: "bytes"; readonly bytes: number; readonly total: number | undefined }
  /** A try failed; the next comes after `delayMs`, and goes on from byte `from` where the server lets it. */
  | ({ readonly type: "retry"; readonly from: number } & RetryNotice)
  | ({ readonly type: "redirect" } & RedirectNotice)
  | { readonly type: "suppression-expired"; readonly rule: SuppressionRule }
  /** The download failed; so much of it lies in `path`, and another one of the same address and file goes on there. */
  | { readonly type: "kept"; readonly bytes: number; readonly path: string }

export interface Downloaded {
  readonly kind: "downloaded"
  readonly status: number
  /** Where it came from in the end, as it may be shown. */
  readonly url: string
  readonly contentType: string | undefined
  readonly bytes: number
  /** Hexadecimal. */
  readonly sha256: string
  readonly tries: number
  /** How many times the body was gone on with in its middle. */
  readonly resumed: number
}

export interface SuppressedDownload {
  readonly kind: "suppressed"
  readonly rule: SuppressionRule
  readonly error: SpillwayError
  readonly tries: number
}

/**
 * Gets a body to its end. One that breaks off is gone on with where the server allows it and the file is still the same one; otherwise it is read
 * from its beginning again. Throws the codes of docs/resilience.md (not `RETRY_EXHAUSTED`, but the code of the last failure) and those of the destination.
 */
export async function download(options: DownloadOptions): Promise<Downloaded | SuppressedDownload> {
  const transfer = await begun(options)
  try {
    return await transfer.run()
  } finally {
    await transfer.close()
  }
}

/** Options that make no sense leave nothing behind, either. */
async function begun(options: DownloadOptions): Promise<Transfer> {
  try {
    return new Transfer(options)
  } catch (error) {
    await options.destination.discard()
    throw error
  }
}

/** A try that gets less far than this may as well have failed at once: a server that breaks off after each byte must not keep us for ever. */
const FURTHER_BYTES = 256 * 1024

type Ended = Omit<Downloaded, "sha256" | "tries" | "resumed"> | Omit<SuppressedDownload, "tries">

class Transfer {
  readonly #options: DownloadOptions
  readonly #client: HttpClient
  readonly #ports: PolicyPorts
  readonly #suppressions: Suppressions
  readonly #destination: Destination
  readonly #url: URL
  /** The request as it may be shown. */
  readonly #where: string
  readonly #method: string
  readonly #headers: Readonly<Record<string, string>>
  /** Of what the destination has the beginning; undefined when it must be begun anew. */
  #version: Version | undefined
  /** Of the last answer with the whole. */
  #status = 0
  #running: Promise<unknown> = Promise.resolve()
  #tries = 0
  #resumed = 0
  #furthest = 0

  constructor(options: DownloadOptions) {
    this.#options = options
    this.#ports = options.ports ?? systemPolicyPorts
    this.#suppressions = suppressions(options.suppress ?? [])
    this.#destination = options.destination
    this.#url = parseAddress(String(options.url))
    this.#method = (options.method ?? "GET").toUpperCase()
    this.#where = `${this.#method} ${shownAddress(this.#url)}`
    const given = Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value])
    this.#headers = { "accept-encoding": "identity", ...(Object.fromEntries(given) as Record<string, string>) }
    this.#client = httpClient({
      ...options.http,
      retry: false,
      budget: false,
      breaker: false,
      // A body may take any time; between its pieces it may not.
      tryTimeout: Infinity,
      ports: options.ports,
      onEvent: (event) => {
        if (event.type === "redirect") this.#tell(event)
      },
      suppress: undefined,
    })
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  async run(): Promise<Downloaded | SuppressedDownload> {
    try {
      const ended = await this.#policy().execute(
        (call) => {
          const running = this.#try(call.signal)
          this.#running = running
          return running
        },
        { signal: this.#options.signal },
      )
      if (ended.kind === "downloaded")
        return { ...ended, sha256: await this.#destination.finish(), tries: this.#tries, resumed: this.#resumed }
      await this.#destination.discard()
      return { ...ended, tries: this.#tries }
    } catch (error) {
      await this.#tidy(error)
      throw error
    }
  }

  #policy(): ReturnType<typeof retry> {
    const mayRepeat = isRepeatable({ method: this.#method, headers: this.#headers }) ? isRetryable : isRefusedUnread
    return retry({
      deadline: Infinity,
      ...this.#options.retry,
      what: this.#url.host,
      keepCode: true,
      ports: this.#ports,
      retryIf: (thrown) => thrown instanceof SpillwayError && mayRepeat(thrown),
      renewIf: () => this.#gotFurther(),
      onRetry: (notice) =>
        this.#tell({ type: "retry", ...notice, from: this.#version === undefined ? 0 : this.#destination.bytes }),
    })
  }

  #gotFurther(): boolean {
    if (this.#destination.bytes - this.#furthest < FURTHER_BYTES) return false
    this.#furthest = this.#destination.bytes
    return true
  }

  async #try(signal: AbortSignal | undefined): Promise<Ended> {
    this.#tries += 1
    try {
      const answer = await this.#open(signal)
      await this.#receive(answer)
      const { headers, url } = answer
      const { bytes } = this.#destination
      return {
        kind: "downloaded",
        status: this.#status,
        url: shownAddress(url),
        contentType: headers["content-type"],
        bytes,
      }
    } catch (error) {
      if (!(error instanceof SpillwayError) || signal?.aborted || this.#destination.isGivenOut) throw error
      return this.#suppressedOr(error)
    }
  }

  /** An answer whose body goes on where the destination ends. */
  async #open(signal: AbortSignal | undefined): Promise<HttpStream> {
    const rest = await this.#openRest(signal)
    if (rest?.status === 206) return rest
    const whole = rest ?? (await this.#request({}, signal))
    this.#status = whole.status
    const adopted = await this.#adoptKept(whole)
    if (!adopted) {
      await this.#beginWith(whole)
      return whole
    }
    whole.discard()
    return this.#open(signal)
  }

  /** What is missing, as status 206; or the whole, where the server has no part or another version; or undefined where its answer is of no use. */
  async #openRest(signal: AbortSignal | undefined): Promise<HttpStream | undefined> {
    const { bytes } = this.#destination
    const version = this.#version
    if (bytes === 0 || version === undefined) return undefined
    let answer: HttpStream
    try {
      answer = await this.#request({ range: `bytes=${bytes}-`, "if-range": version.validator }, signal)
    } catch (error) {
      if (error instanceof SpillwayError && error.context["status"] === RANGE_NOT_SATISFIABLE) return undefined
      throw error
    }
    if (answer.status !== PARTIAL_CONTENT) return answer
    const rest = continuation(answer.headers, bytes, version)
    if (rest === undefined) {
      answer.discard()
      return undefined
    }
    this.#version = { ...version, total: rest.total }
    this.#resumed += 1
    this.#tell({ type: "answer", status: answer.status, from: bytes, total: rest.total })
    return answer
  }

  #request(more: Readonly<Record<string, string>>, signal: AbortSignal | undefined): Promise<HttpStream> {
    const { url, body } = this.#options
    return this.#client.open({ url, method: this.#method, headers: { ...this.#headers, ...more }, body, signal })
  }

  /** Takes over what an earlier download kept of the same version. */
  async #adoptKept(whole: HttpStream): Promise<boolean> {
    const version = this.#versionOf(whole)
    if (version === undefined || this.#destination.bytes > 0) return false
    if (!(await this.#destination.adopt(versionName(this.#url, version)))) return false
    this.#version = version
    this.#furthest = this.#destination.bytes
    return true
  }

  async #beginWith(whole: HttpStream): Promise<void> {
    if (this.#destination.bytes > 0) await this.#destination.restart()
    this.#version = this.#destination.isComparing ? undefined : this.#versionOf(whole)
    this.#tell({ type: "answer", status: whole.status, from: 0, total: announcedBytes(whole.headers) })
  }

  #versionOf({ status, headers }: HttpStream): Version | undefined {
    // A range that the caller asked for is the whole to us, and cannot be cut further.
    return this.#method === "GET" && status === OK && this.#headers["range"] === undefined
      ? versionOf(headers)
      : undefined
  }

  async #receive(answer: HttpStream): Promise<void> {
    const destination = this.#destination
    const isRest = answer.status === PARTIAL_CONTENT && this.#version !== undefined
    const total = isRest ? this.#version?.total : announcedBytes(answer.headers)
    const most = this.#options.http?.maxBodyBytes ?? Infinity
    const version = isRest ? this.#version : this.#versionOf(answer)
    let received = isRest ? destination.bytes : 0
    for await (const chunk of answer.body) {
      received += chunk.byteLength
      if (received > most) throw tooLarge(most, this.#where)
      await destination.write(chunk)
      if (!destination.isComparing) this.#version = version
      this.#tell({ type: "bytes", bytes: received, total })
    }
    if (total !== undefined && received !== total) throw cutShort(received, total, this.#where)
  }

  #suppressedOr(error: SpillwayError): Omit<SuppressedDownload, "tries"> {
    const verdict = this.#suppressions.judge(this.#url, error, this.#ports.clock.now())
    if (verdict.suppressed) return { kind: "suppressed", rule: verdict.rule, error }
    if (verdict.expired !== undefined) this.#tell({ type: "suppression-expired", rule: verdict.expired })
    throw error
  }

  /** Leaves nothing behind but what a later download can go on with. */
  async #tidy(error: unknown): Promise<void> {
    // The policy may have left a try behind that still writes. What hands on cannot be waited for: its reader may be asleep.
    if (!this.#destination.isGivenOut) await this.#running.catch(() => undefined)
    const isFull = error instanceof SpillwayError && error.code === "RESOURCE"
    const { bytes } = this.#destination
    try {
      if (this.#version === undefined || isFull) return await this.#destination.discard()
      const path = await this.#destination.keep(versionName(this.#url, this.#version))
      if (path !== undefined) this.#tell({ type: "kept", bytes, path })
    } catch {
      // The error that ended the download is the one to tell.
    }
  }

  #tell(event: DownloadEvent): void {
    this.#options.on?.(event)
  }
}

const OK = 200
const PARTIAL_CONTENT = 206
const RANGE_NOT_SATISFIABLE = 416

const tooLarge = (most: number, where: string): SpillwayError =>
  new SpillwayError("RESOURCE", `the body is larger than ${most} bytes`, {
    where,
    hint: "allow more if so much is expected",
  })

const cutShort = (received: number, total: number, where: string): SpillwayError =>
  new SpillwayError("NETWORK", `the body was cut short: ${received} of ${total} bytes`, {
    where,
    hint: "the server or something on the way closes connections early; if it stays so, ask who runs it",
  })
