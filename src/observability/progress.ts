import type { Clock } from "../core/clock.ts"
import type { RunEvent } from "../core/events.ts"
import { duration, figure, perSecond, plural } from "./wording.ts"

/** How far a run is, summed up from its events. */
export interface Progress {
  pipeline: string
  phase: "listing" | "running" | "done"
  startedAt: number
  /** Partitions to do, and done (published or held). */
  todo: number
  done: number
  held: number
  read: number
  deadLettered: number
  bytes: number
  totalBytes: number
  retry: string | undefined
}

export const newProgress = (): Progress => ({
  pipeline: "",
  phase: "listing",
  startedAt: 0,
  todo: 0,
  done: 0,
  held: 0,
  read: 0,
  deadLettered: 0,
  bytes: 0,
  totalBytes: 0,
  retry: undefined,
})

export function advance(progress: Progress, event: RunEvent): void {
  if (event.type !== "retry") progress.retry = undefined
  switch (event.type) {
    case "run.started":
      Object.assign(progress, newProgress(), { pipeline: event.pipeline, startedAt: event.time })
      return
    case "run.planned":
      Object.assign(progress, { phase: "running", todo: event.todo, totalBytes: event.bytes })
      return
    case "batch.staged":
      progress.read += event.read
      progress.deadLettered += event.deadLettered
      progress.bytes += event.bytes
      return
    case "partition.published":
      progress.done++
      return
    case "partition.held":
      progress.done++
      progress.held++
      return
    case "retry":
      progress.retry = `${event.what}: retry ${event.tries} in ${duration(event.delayMs)}`
      return
    case "run.finished":
      progress.phase = "done"
      return
    default:
      return
  }
}

/** Too early to say how long it will take. */
const ESTIMATE_AFTER_MS = 3_000

/** One line, at most `width` columns wide: `retail  212/305 partitions  376,201 rows  174,809 rows/s  69 %  2 dead letters`. */
export function progressText(progress: Progress, now: number, width: number): string {
  if (progress.phase === "listing") return `${progress.pipeline}  looking at the source`.slice(0, width)
  const elapsed = now - progress.startedAt
  const rate = perSecond(progress.read, elapsed)
  const share = progress.totalBytes > 0 ? Math.min(1, progress.bytes / progress.totalBytes) : undefined
  const parts = [
    progress.pipeline,
    `${figure(progress.done)}/${figure(progress.todo)} partitions`,
    plural(progress.read, "row"),
  ]
  if (rate !== undefined) parts.push(`${figure(rate)} rows/s`)
  // All is read, but not yet published: that is not the end.
  const limit = progress.done < progress.todo ? 99 : 100
  if (share !== undefined) parts.push(`${Math.min(limit, Math.floor(share * 100))} %`)
  if (progress.deadLettered > 0) parts.push(plural(progress.deadLettered, "dead letter"))
  if (progress.held > 0) parts.push(`${figure(progress.held)} held`)
  if (progress.retry !== undefined) parts.push(progress.retry)
  else if (share !== undefined && share > 0 && share < 1 && elapsed >= ESTIMATE_AFTER_MS)
    parts.push(`about ${duration((elapsed * (1 - share)) / share)} left`)
  return parts.join("  ").slice(0, width)
}

const REDRAW_EVERY_MS = 100
const CLEAR_LINE = "\r\u001b[2K"

export interface ProgressLine {
  on(event: RunEvent): void
  /** Prints whole lines above the progress line. */
  above(text: string): void
  /** Takes the line away; nothing is drawn any more. */
  stop(): void
}

interface Terminal {
  readonly columns?: number | undefined
  write(text: string): unknown
}

/** One line on a terminal that is drawn anew, at most ten times a second, as events come in. */
export function progressLine(terminal: Terminal, clock: Clock): ProgressLine {
  const progress = newProgress()
  let shown = ""
  const draw = (): void => {
    if (progress.pipeline === "" || progress.phase === "done") return
    // The last column stays empty: some terminals wrap when it is written.
    const text = progressText(progress, clock.now(), (terminal.columns || 80) - 1)
    if (text === shown) return
    terminal.write(CLEAR_LINE + text)
    shown = text
  }
  const clear = (): void => {
    if (shown !== "") terminal.write(CLEAR_LINE)
    shown = ""
  }
  const stopTimer = clock.every(REDRAW_EVERY_MS, draw)
  return {
    on: (event) => {
      advance(progress, event)
      if (event.type === "run.finished") clear()
    },
    above: (text) => {
      clear()
      terminal.write(`${text}\n`)
    },
    stop: () => {
      stopTimer()
      clear()
    },
  }
}
