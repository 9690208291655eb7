import type { Clock } from "../core/clock.ts"
import type { DownloadEvent, Downloaded } from "../download/download.ts"
import { duration, figure, perSecond, plural } from "../observability/wording.ts"
import type { Output } from "./output.ts"
import { textProgress } from "./text-progress.ts"

export interface RunUrlView {
  on(event: DownloadEvent): void
  /** Prints a line on stderr. */
  above(text: string): void
  /** Takes the live line away; nothing is drawn any more. */
  stop(): void
}

/** Tries, waits and redirects as lines on stderr; `live`: on a terminal also one line that tells how far it is. */
export function runUrlView(output: Output, clock: Clock, live: boolean): RunUrlView {
  const line = textProgress(output, clock)
  const startedAt = clock.monotonic()
  let progress: { bytes: number; total: number | undefined } | undefined
  let waitingUntil = 0
  let highest = 0
  const state = (): string => {
    const now = clock.monotonic()
    if (waitingUntil > now) return `next try in ${duration(waitingUntil - now)}`
    if (progress === undefined) return `waiting for an answer, ${duration(now - startedAt)}`
    return progressText(progress, now - startedAt)
  }
  if (live) line.show(state)
  return {
    above: (text) => line.above(text),
    stop: () => line.stop(),
    on(event) {
      if (event.type === "bytes") {
        progress = event
        highest = Math.max(highest, event.bytes)
        return
      }
      if (event.type === "retry") waitingUntil = clock.monotonic() + event.delayMs
      const text = eventText(event, highest)
      if (text !== undefined) line.above(text)
    },
  }
}

/** `83,886,080 of 209,715,200 bytes  40 %  64 MB/s` */
function progressText({ bytes, total }: { bytes: number; total: number | undefined }, elapsedMs: number): string {
  const rate = perSecond(bytes, elapsedMs)
  const parts = [total === undefined ? plural(bytes, "byte") : `${figure(bytes)} of ${plural(total, "byte")}`]
  if (total !== undefined && total > 0) parts.push(`${Math.floor((100 * bytes) / total)} %`)
  if (rate !== undefined) parts.push(`${megabytes(rate)}/s`)
  return parts.join("  ")
}

const megabytes = (bytes: number): string =>
  bytes < 1e6 ? `${figure(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`

/** `highest`: bytes that were there once. */
function eventText(event: Exclude<DownloadEvent, { type: "bytes" }>, highest: number): string | undefined {
  switch (event.type) {
    case "retry": {
      const { attempt, error, delayMs, from } = event
      const next = from > 0 ? `goes on from byte ${figure(from)}` : "again"
      const asked = error.context["retryAfterMs"] === undefined ? "" : ", as the server asks"
      return `try ${attempt} failed: ${error.code}: ${error.message}; ${next} in ${duration(delayMs)}${asked}`
    }
    case "redirect":
      return `redirect to ${event.to}${event.credentialsDropped ? " (another host: only harmless headers go there)" : ""}`
    case "answer":
      if (event.from > 0)
        return `going on from byte ${figure(event.from)}${event.total === undefined ? "" : ` of ${figure(event.total)}`}`
      return highest > 0 ? "from the beginning: the server cannot go on, or has another version now" : undefined
    case "suppression-expired":
      return undefined
    case "kept":
      return `${plural(event.bytes, "byte")} are kept in ${event.path}: the same command goes on there`
  }
}

/** Below this the time is that of the call, not of the bytes. */
const WORTH_A_RATE = 1e6

/** `200  209,715,200 bytes in 3.1 s (67.6 MB/s), 3 tries, gone on twice`, and the hash. */
export function summaryText(done: Downloaded, elapsedMs: number, out: string | undefined): string {
  const rate = done.bytes < WORTH_A_RATE ? undefined : perSecond(done.bytes, elapsedMs)
  const parts = [
    `${plural(done.bytes, "byte")} in ${duration(elapsedMs)}${rate === undefined ? "" : ` (${megabytes(rate)}/s)`}`,
  ]
  parts.push(plural(done.tries, "try", "tries"))
  if (done.resumed > 0) parts.push(`gone on ${done.resumed === 1 ? "once" : `${done.resumed} times`}`)
  if (out !== undefined) parts.push(`in ${out}`)
  return `${done.status}  ${parts.join(", ")}\nsha256 ${done.sha256}`
}
