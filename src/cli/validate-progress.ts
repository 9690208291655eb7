import type { Clock } from "../core/clock.ts"
import { figure, perSecond, plural } from "../observability/wording.ts"
import type { ValidateProgress } from "../validate/options.ts"
import type { Output } from "./output.ts"
import { textProgress, type TextProgress } from "./text-progress.ts"

export interface ValidateProgressLine extends Omit<TextProgress, "show"> {
  on(progress: ValidateProgress): void
}

/** The progress of a validation on a terminal; nothing in a pipe. */
export function validateProgress(output: Output, clock: Clock): ValidateProgressLine {
  const startedAt = clock.monotonic()
  const line = textProgress(output, clock)
  return { ...line, on: (progress) => line.show(() => progressText(progress, clock.monotonic() - startedAt)) }
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
