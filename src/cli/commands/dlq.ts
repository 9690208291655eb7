import { resolve } from "node:path"
import type { Command } from "commander"
import { errorCodes, isErrorCode } from "../../core/error-catalog.ts"
import { SpillwayError, systemCode } from "../../core/errors.ts"
import type { Files } from "../../core/files.ts"
import type { LetterFilter } from "../../dead-letters/export.ts"
import { plural } from "../../observability/wording.ts"
import { maskingOf, withReveal, type LetterOptions } from "../letter-options.ts"
import { withExistingDatabase } from "../database.ts"
import { usageError } from "../errors.ts"
import type { CommandContext, Host } from "../host.ts"
import { suggestion } from "../nearest.ts"
import type { Outcome } from "../output.ts"
import { locateFolder } from "../project.ts"
import { sinceDate } from "../since.ts"

interface ExportOptions extends Pick<LetterOptions, "reveal"> {
  pipeline?: string
  code?: string
  status?: string
  since?: string
  out?: string
}

const STATUSES = ["pending", "replayed", "discarded", "poisoned", "superseded"]

export function dlqCommand(program: Command, context: CommandContext): void {
  const dlq = program
    .command("dlq")
    .description("dead letters: records that were set aside, with the reason")
    .addHelpText("after", "\nExamples:\n  spillway dlq export --pipeline orders --out letters.jsonl")
  withReveal(dlq.command("export"))
    .description("write dead letters as JSON lines, with what is secret masked; such lines cannot be imported again")
    .option("--pipeline <name>", "only of this pipeline")
    .option("--code <code>", "only with this error code")
    .option("--status <status>", `only with this status: ${STATUSES.join(", ")}`)
    .option("--since <when>", "only those seen since: 1h, 7d, or a date")
    .option("--out <file>", "write to this file (default: stdout)")
    .addHelpText(
      "after",
      "\nExamples:\n  spillway dlq export --code VALIDATION | head\n  spillway dlq export --pipeline orders --since 1d --out letters.jsonl",
    )
    .action((options: ExportOptions) => context.act((host) => exportLetters(host, options)))
}

async function exportLetters(host: Host, options: ExportOptions): Promise<Outcome> {
  if (host.output.json && options.out === undefined)
    throw usageError(
      "the letters and the answer of --json cannot both go to stdout",
      "letters are JSON lines already: leave out --json, or give --out FILE",
    )
  const filter = filterOf(options, host.ports.clock.now())
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const { exportDeadLetters } = await import("../../dead-letters/export.ts")
  let masked = 0
  async function* linesOf(letters: ReturnType<typeof exportDeadLetters>): AsyncIterable<string> {
    for await (const letter of letters) {
      if (letter.masked) masked++
      yield letter.line
    }
  }
  const written = await withExistingDatabase(host, directory, (session) => {
    const lines = linesOf(exportDeadLetters(session, filter, maskingOf(options)))
    return options.out === undefined
      ? toStdout(host, lines)
      : toFile(host.ports.files, resolve(host.directory, options.out), lines)
  })
  const letters = written ?? 0
  if (masked > 0)
    host.output.warn(
      `${plural(masked, "letter")} have secret fields, which are masked: only --reveal FIELD writes what can be imported again`,
    )
  if (options.out === undefined) return { data: { letters, masked } }
  if (written === undefined) host.output.warn("nothing has run yet: there are no dead letters, and no file was written")
  return {
    data: { letters, masked, file: options.out },
    text: `${plural(letters, "dead letter")} written to ${options.out}`,
  }
}

function filterOf(options: ExportOptions, now: number): LetterFilter {
  const code = options.code?.toUpperCase()
  if (code !== undefined && !isErrorCode(code))
    throw usageError(
      `--code ${options.code} is not an error code`,
      suggestion(code, errorCodes, "all codes: spillway explain"),
    )
  if (options.status !== undefined && !STATUSES.includes(options.status))
    throw usageError(`--status ${options.status} is not a status`, `it is one of ${STATUSES.join(", ")}`)
  return {
    pipeline: options.pipeline,
    code,
    status: options.status,
    since: options.since === undefined ? undefined : sinceDate(options.since, now),
  }
}

/** Letters gathered before they are written. */
const LINES_PER_WRITE = 500

async function inPortions(lines: AsyncIterable<string>, write: (text: string) => Promise<boolean>): Promise<number> {
  let portion: string[] = []
  let written = 0
  const put = async (): Promise<boolean> => {
    if (portion.length === 0) return true
    const goOn = await write(`${portion.join("\n")}\n`)
    written += portion.length
    portion = []
    return goOn
  }
  for await (const line of lines) {
    portion.push(line)
    if (portion.length >= LINES_PER_WRITE && !(await put())) return written
  }
  await put()
  return written
}

const toStdout = (host: Host, lines: AsyncIterable<string>): Promise<number> =>
  inPortions(lines, async (text) => {
    await host.output.data(text)
    return !host.output.closed
  })

/** The file appears only when it is complete. */
async function toFile(files: Files, path: string, lines: AsyncIterable<string>): Promise<number> {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    await files.remove(temporary)
    const handle = await files.create(temporary)
    let written: number
    try {
      written = await inPortions(lines, async (text) => {
        await handle.writeFile(text)
        return true
      })
      await handle.sync()
    } finally {
      await handle.close()
    }
    await files.rename(temporary, path)
    return written
  } catch (error) {
    await files.remove(temporary).catch(() => undefined)
    if (error instanceof SpillwayError) throw error
    throw new SpillwayError("RESOURCE", `the letters could not be written (${systemCode(error) ?? String(error)})`, {
      where: path,
      cause: error,
      hint: "check that the folder exists, may be written to, and has room",
    })
  }
}
