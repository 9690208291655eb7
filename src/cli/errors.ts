import type { Colors } from "./colors.ts"
import { isErrorCode } from "../core/error-catalog.ts"
import { asSpillwayError, SpillwayError, type ErrorDetails } from "../core/errors.ts"
import { redact } from "../core/secrets.ts"

/** A command or flag that is not right. */
export const usageError = (message: string, hint?: string): SpillwayError =>
  new SpillwayError("CONFIG", message, { hint })

/** Something named by the user is not there: exit 4. */
export const notFound = (message: string, details: ErrorDetails = {}): SpillwayError =>
  new SpillwayError("CONFIG", message, { ...details, context: { ...details.context, notFound: true } })

/** Any thrown value as a SpillwayError; one of another copy of Spillway (the project's own) is recognised by its shape. */
export function recogniseError(value: unknown): SpillwayError {
  if (value instanceof SpillwayError || !(value instanceof Error) || value.name !== "SpillwayError")
    return asSpillwayError(value)
  const { code, hint, where, context } = value as Partial<SpillwayError>
  if (code === undefined || !isErrorCode(code)) return asSpillwayError(value)
  return new SpillwayError(code, value.message, {
    hint,
    where,
    context,
    cause: value.cause,
    class: (value as SpillwayError).class,
  })
}

/** What `--json` carries of an error. */
export interface ErrorData {
  readonly code: string
  readonly message: string
  readonly hint: string | null
  readonly where: string | null
}

export const errorData = (
  error: Pick<SpillwayError, "code" | "message" | "hint"> & { where?: string | undefined },
): ErrorData => ({
  code: error.code,
  message: redact(error.message),
  hint: error.hint === undefined ? null : redact(error.hint),
  where: error.where === undefined ? null : redact(error.where),
})

/** `error[CODE]: what` / `--> where` / `hint: what to do`; with `verbose` also what caused it. */
export function errorText(
  error: Pick<SpillwayError, "code" | "message" | "hint"> & { where?: string | undefined; cause?: unknown },
  colors: Colors,
  verbose: boolean,
): string {
  const lines = [`${colors.bold(colors.red(`error[${error.code}]`))}: ${error.message}`]
  if (error.where !== undefined) lines.push(`  ${colors.dim("-->")} ${error.where}`)
  if (error.hint !== undefined) lines.push(`${colors.cyan("hint")}: ${error.hint}`)
  if (verbose) lines.push(...causes(error.cause))
  return redact(lines.join("\n"))
}

/** Causes may form a ring. */
const CAUSES_SHOWN = 8

function causes(first: unknown): string[] {
  const lines: string[] = []
  let cause = first
  for (let depth = 0; cause !== undefined && cause !== null && depth < CAUSES_SHOWN; depth++) {
    lines.push(`caused by: ${cause instanceof Error ? (cause.stack ?? cause.message) : JSON.stringify(cause)}`)
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return lines
}
