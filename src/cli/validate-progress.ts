import type { Clock } from "../core/clock.ts"
import { figure, perSecond, plural } from "../observability/wording.ts"
import type { ValidateProgress } from "../validate/options.ts"
import type { Output } from "./output.ts"

export interface ValidateProgressLine {
  on(progress: ValidateProgress): void
  /** Prints a line above. */
  above(text: string): void
  clear(): void
  /** Takes the line away; nothing is drawn any more. */
  stop(): void
}

const REDRAW_EVERY_MS = 100
const CLEAR_LINE = "\r\u001b[2K"

/** One line on a terminal, drawn anew at most ten times a second; nothing in a pipe. */
export function validateProgress(output: Output, clock: Clock): ValidateProgressLine {
  const { stderr, stderrTerminal } = output
  const startedAt = clock.monotonic()
  let latest: ValidateProgress | undefined
  let shown = ""
  const draw = (): void => {
    if (latest === undefined) return
    const text = progressText(latest, clock.monotonic() - startedAt).slice(0, (stderr.columns || 80) - 1)
    if (text === shown) return
    stderr.write(CLEAR_LINE + text)
    shown = text
  }
  const clear = (): void => {
    if (shown !== "") stderr.write(CLEAR_LINE)
    shown = ""
  }
  const stopTimer = stderrTerminal ? clock.every(REDRAW_EVERY_MS, draw) : undefined
  return {
    on: (progress) => (latest = progress),
    above: (text) => {
      clear()
      output.note(text)
    },
    clear,
    stop: () => {
      stopTimer?.()
      clear()
    },
  }
}

/** `data.csv  376,201 records  174,809/s  69 %  2 set aside` */
export function progressText({ file, read, bad, bytes, totalBytes }: ValidateProgress, elapsedMs: number): string {
  const rate = perSecond(read, elapsedMs)
  const parts = [file, plural(read, "record")]
  if (rate !== undefined) parts.push(`${figure(rate)}/s`)
  if (totalBytes !== undefined && totalBytes > 0)
    parts.push(`${Math.min(100, Math.floor((bytes / totalBytes) * 100))} %`)
  if (bad > 0) parts.push(`${figure(bad)} set aside`)
  return parts.join("  ")
}
