import type { Command } from "commander"
import { SpillwayError } from "../../core/errors.ts"
import { redactValue } from "../../core/secrets.ts"
import { handedOn } from "../../download/destination.ts"
import type { Downloaded, DownloadEvent, SuppressedDownload } from "../../download/download.ts"
import { attemptsOf, RetryError } from "../../resilience/retry-error.ts"
import type { SuppressionRule } from "../../resilience/suppression.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import type { Outcome } from "../output.ts"
import { runUrlSettings, type RunUrlFlags, type RunUrlSettings } from "../run-url-flags.ts"
import { rulesOf } from "../run-url-rules.ts"
import { bodyToStdout } from "../run-url-stdout.ts"
import { runUrlView, summaryText } from "../run-url-view.ts"

export function runUrlCommand(program: Command, context: CommandContext): void {
  program
    .command("run-url")
    .description("call an address once, with retries: the body to standard output or a file; needs no database")
    .requiredOption("--url <url>", "http or https; user and password in it are sent as basic authentication")
    .option("--method <method>", "default GET, with --data POST")
    .option("--header <line>", "Name: value; may be given again", collect)
    .option("--data <text|@file>", "the request's body: JSON or a form")
    .option("--retries <n>", "tries after the first, for failures that may pass", "4")
    .option("--timeout <duration>", "longest silence: to connect, to the answer, within the body", "30s")
    .option("--max-time <duration>", "for everything together (default: no limit)")
    .option("--max-bytes <n>", "refuse a larger body; also lets a compressed body grow up to that")
    .option("--out <file>", "write to this file, which appears when it is complete")
    .option("--suppress <rule>", '"404 until 2027-03-31: why", or a JSON file of rules; may be given again', collect)
    .option("--public-only", "refuse private, loopback, link-local and metadata addresses, whatever name leads there")
    .addHelpText(
      "after",
      `
Exit codes: 0 ok or suppressed; 1 refused (status 400 to 499) or damaged; 2 usage, address, redirects or credentials;
4 not there (404, 410); 5 not reached or failing: network, name, certificate, time-out, 429, 500 and up, disk; 130 interrupted.

Examples:
  spillway run-url --url https://example.com/products.json | spillway validate --in-file - --schema schema.json
  spillway run-url --url https://example.com/big.zip --out big.zip --retries 10 --max-time 1h
  spillway run-url --url https://example.com/old --suppress "404 until 2027-03-31: moved until spring"
  spillway run-url --url https://example.com/jobs --header "Authorization: Bearer $TOKEN" --data '{"all":true}'`,
    )
    .action((flags: RunUrlFlags) => context.act((host) => runUrl(host, flags)))
}

const collect = (value: string, before: string[] = []): string[] => [...before, value]

async function runUrl(host: Host, flags: RunUrlFlags): Promise<Outcome> {
  const { output, ports } = host
  const settings = await runUrlSettings(host, flags)
  const rules = await rulesOf(host, settings.url, flags.suppress ?? [])
  const view = runUrlView(output, ports.clock, settings.out !== undefined || !output.terminal)
  const log = new Log()
  const interrupt = interruptOf(
    host.signals,
    ports.clock,
    () => view.above("stopping"),
    () => view.stop(),
  )
  const startedAt = ports.clock.monotonic()
  const on = (event: DownloadEvent): void => {
    log.on(event)
    view.on(event)
    if (event.type === "suppression-expired") warnOfExpiry(host, event.rule, log)
  }
  try {
    const done = await fetchTo(host, settings, { rules, signal: interrupt.signal, on })
    view.stop()
    return outcomeOf(host, settings, done, { log, elapsedMs: ports.clock.monotonic() - startedAt })
  } catch (error) {
    view.stop()
    throw told(error, interrupt.signal.aborted)
  } finally {
    interrupt.dispose()
  }
}

async function fetchTo(
  host: Host,
  settings: RunUrlSettings,
  watched: {
    readonly rules: readonly SuppressionRule[]
    readonly signal: AbortSignal
    readonly on: (event: DownloadEvent) => void
  },
): Promise<Downloaded | SuppressedDownload> {
  const [{ download }, { fileDestination }] = await Promise.all([
    import("../../download/download.ts"),
    import("../../download/file-destination.ts"),
  ])
  const { url, method, headers, body, attempts, timeoutMs, deadlineMs, maxBytes, publicOnly, out } = settings
  const { rules, signal, on } = watched
  const stdout = bodyToStdout(host)
  const destination =
    out === undefined ? handedOn("standard output", (chunk) => stdout.write(chunk)) : await fileDestination(out, host)
  try {
    return await download({
      url,
      method,
      headers,
      body,
      destination,
      http: {
        connectTimeout: timeoutMs,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        publicOnly,
        ...(maxBytes === undefined ? {} : { maxBodyBytes: maxBytes, maxExpansion: Infinity }),
      },
      retry: { attempts, deadline: deadlineMs },
      suppress: rules,
      signal,
      on,
      ports: host.ports,
    })
  } finally {
    await stdout.endLine()
  }
}

/** What `--json` tells of the way. */
class Log {
  readonly failedTries: { attempt: number; code: string; message: string; waitMs: number }[] = []
  readonly redirects: { to: string; credentialsDropped: boolean }[] = []
  readonly #expired = new Set<SuppressionRule>()

  on(event: DownloadEvent): void {
    if (event.type === "retry") {
      const { attempt, error, delayMs } = event
      this.failedTries.push({ attempt, code: error.code, message: error.message, waitMs: Math.round(delayMs) })
    }
    if (event.type === "redirect") this.redirects.push({ to: event.to, credentialsDropped: event.credentialsDropped })
  }

  /** Whether it is the first time that this rule would have applied. */
  isNews(rule: SuppressionRule): boolean {
    const isNews = !this.#expired.has(rule)
    this.#expired.add(rule)
    return isNews
  }
}

function warnOfExpiry({ output }: Host, rule: SuppressionRule, log: Log): void {
  if (log.isNews(rule))
    output.warn(
      `a rule suppressed this failure until ${rule.expires} (${rule.reason}); it has expired, renew it if the failure is still expected`,
    )
}

function outcomeOf(
  { output }: Host,
  settings: RunUrlSettings,
  done: Downloaded | SuppressedDownload,
  { log, elapsedMs }: { readonly log: Log; readonly elapsedMs: number },
): Outcome {
  const common = { ...log, durationMs: Math.round(elapsedMs), tries: done.tries }
  if (done.kind === "suppressed") {
    const { rule, error } = done
    output.note(`suppressed until ${rule.expires} (${rule.reason}): ${error.code}: ${error.message}`)
    const suppressed = { rule, code: error.code, message: error.message, where: error.where }
    return { data: redactValue({ ...common, suppressed }) }
  }
  output.note(summaryText(done, elapsedMs, settings.out))
  const { status, url, contentType, bytes, sha256, resumed } = done
  const { out } = settings
  return { data: redactValue({ status, url, contentType, bytes, sha256, resumed, out, ...common, suppressed: null }) }
}

/** The error as it is told here: what is not there is "not found", and limits are named as the flags that set them. */
function told(error: unknown, isStopped: boolean): unknown {
  if (!(error instanceof SpillwayError)) return error
  if (isStopped && error.code === "CANCELLED")
    return new SpillwayError("CANCELLED", "the download was stopped", { hint: "run the same command again" })
  const { status } = error.context
  const isGone = status === 404 || status === 410
  return new SpillwayError(error.code, error.message, {
    class: error.class,
    where: error.where,
    hint: hintOf(error),
    cause: attemptsOf(error).length > 1 ? error : error.cause,
    context: isGone ? { ...error.context, notFound: true } : error.context,
  })
}

function hintOf(error: SpillwayError): string | undefined {
  if (error instanceof RetryError && error.reason === "deadline")
    return "raise --max-time if it is meant to take that long"
  if (error.context["maxExpansion"] !== undefined)
    return "if it is meant to be so, say with --max-bytes how large it may become"
  if (error.code === "RESOURCE" && error.context["maxBodyBytes"] !== undefined)
    return "raise --max-bytes if so much is expected"
  return error.hint
}
