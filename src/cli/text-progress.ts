import type { Clock } from "../core/clock.ts"
import type { Output } from "./output.ts"

export interface TextProgress {
  /** What the line says from now on; asked each time it is drawn. */
  show(text: () => string): void
  /** Prints a line above. */
  above(text: string): void
  clear(): void
  /** Takes the line away; nothing is drawn any more. */
  stop(): void
}

const REDRAW_EVERY_MS = 100
const CLEAR_LINE = "\r\u001b[2K"

/** One line on a terminal, drawn anew at most ten times a second; nothing in a pipe. */
export function textProgress(output: Output, clock: Clock): TextProgress {
  const { stderr, stderrTerminal } = output
  let latest: (() => string) | undefined
  let shown = ""
  const clear = (): void => {
    if (shown !== "") stderr.write(CLEAR_LINE)
    shown = ""
  }
  const draw = (): void => {
    if (latest === undefined) return
    const text = latest().slice(0, (stderr.columns || 80) - 1)
    if (text === shown) return
    stderr.write(CLEAR_LINE + text)
    shown = text
  }
  const stopTimer = stderrTerminal ? clock.every(REDRAW_EVERY_MS, draw) : undefined
  return {
    show: (text) => {
      latest = text
    },
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
