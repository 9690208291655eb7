import type { Command } from "commander"
import { SpillwayError } from "../../core/errors.ts"
import { plural } from "../../observability/wording.ts"
import type { FormatName } from "../../validate/input.ts"
import type { ValidateReport } from "../../validate/tally.ts"
import { usageError } from "../errors.ts"
import { exitCodes } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import { standardInput } from "../standard-input.ts"
import type { Outcome } from "../output.ts"
import { validateProgress } from "../validate-progress.ts"
import { validateText } from "../validate-text.ts"

interface ValidateFlags {
  inFile: string
  schema: string
  goodOut?: string
  deadLetter?: string
  minPassRate?: string
  format?: string
  limit?: string
  report?: string
}

const FORMATS: readonly string[] = ["csv", "jsonl", "json"] satisfies readonly FormatName[]

export function validateCommand(program: Command, context: CommandContext): void {
  program
    .command("validate")
    .description("check a file against a schema: good records to one file, dead letters to another; needs no database")
    .requiredOption("--in-file <file>", "a path, a glob in quotes, or - for standard input; also .gz and .zst")
    .requiredOption("--schema <schema>", "builtins.ProductRecord, file.ts#Name, or schema.json")
    .option("--good-out <file>", "valid records: a name in .csv or .jsonl, or - for standard output")
    .option("--dead-letter <file>", "the others, with every fault, as JSON lines; or -")
    .option("--min-pass-rate <ratio>", "exit 0 when at least this share is valid, from 0 to 1", "1")
    .option("--format <format>", `${FORMATS.join(", ")} (default: by the name)`)
    .option("--limit <n>", "stop after so many records")
    .option("--report <format>", "text or json", "text")
    .addHelpText(
      "after",
      `
Exit codes: 0 all valid, or at least --min-pass-rate; 1 not; 2 usage. Outputs appear when all is read, never half.

Examples:
  spillway validate --in-file data.csv --schema builtins.ProductRecord --good-out good.csv --dead-letter bad.jsonl
  spillway validate --in-file 'in/*.jsonl.gz' --schema ./schema.ts#Order --dead-letter bad.jsonl --min-pass-rate 0.95
  curl -s https://example.com/products.json | spillway validate --in-file - --schema schema.json --good-out - | head`,
    )
    .action((flags: ValidateFlags) => context.act((host) => validate(host, flags)))
}

async function validate(host: Host, flags: ValidateFlags): Promise<Outcome> {
  const settings = settingsOf(host, flags)
  const { output, ports, directory } = host
  const progress = validateProgress(output, ports.clock)
  const interrupt = interruptOf(
    host.signals,
    ports.clock,
    () => progress.above("stopping; no output is left behind"),
    () => progress.stop(),
  )
  try {
    const [{ validateFiles }, { schemaOf }] = await Promise.all([
      import("../../validate/validate-files.ts"),
      import("../../validate/schema-reference.ts"),
    ])
    const report = await validateFiles({
      ...settings,
      schema: await schemaOf(flags.schema, directory, ports.files),
      directory,
      ports,
      signal: interrupt.signal,
      stdin: standardInput(interrupt.signal),
      stdout: async (text) => {
        await output.data(text)
        if (output.closed)
          throw new SpillwayError("CANCELLED", "whoever read standard output has left", {
            hint: "write to a file to have all of it",
          })
      },
      on: (state) => progress.on(state),
      warn: (message) => {
        progress.clear()
        output.warn(message)
      },
    })
    progress.stop()
    return outcomeOf(host, flags, report)
  } catch (error) {
    if (interrupt.signal.aborted)
      throw new SpillwayError("CANCELLED", "the validation was stopped", {
        hint: "no output was left behind; run the same command again",
      })
    throw error
  } finally {
    interrupt.dispose()
    progress.stop()
  }
}

/** The flags, checked; every fault at once. */
function settingsOf(host: Host, flags: ValidateFlags) {
  const { inFile, goodOut, deadLetter, report, format } = flags
  const faults: string[] = []
  const minPassRate = Number(flags.minPassRate)
  if (flags.minPassRate?.trim() === "" || !(minPassRate >= 0 && minPassRate <= 1))
    faults.push(`--min-pass-rate ${flags.minPassRate} is not a number from 0 to 1`)
  const limit = flags.limit === undefined ? undefined : Number(flags.limit)
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0))
    faults.push(`--limit ${flags.limit} is not a whole number from 1`)
  if (format !== undefined && !isFormat(format)) faults.push(`--format ${format} is not one of ${FORMATS.join(", ")}`)
  if (report !== "text" && report !== "json") faults.push(`--report ${report} is neither text nor json`)
  const toStdout = [goodOut, deadLetter].filter((name) => name === "-").length
  if (toStdout > 1) faults.push("--good-out and --dead-letter cannot both go to standard output")
  if (toStdout > 0 && host.output.json)
    faults.push("records and the answer of --json cannot both go to standard output")
  if (faults.length > 0) throw usageError(faults.join("; "), "see spillway validate --help")
  return {
    input: inFile,
    goodOut,
    deadLetter,
    minPassRate,
    limit,
    format: format !== undefined && isFormat(format) ? format : undefined,
  }
}

const isFormat = (text: string): text is FormatName => FORMATS.includes(text)

function outcomeOf(host: Host, flags: ValidateFlags, report: ValidateReport): Outcome {
  const { output } = host
  const dataOnStdout = flags.goodOut === "-" || flags.deadLetter === "-"
  const text =
    flags.report === "json"
      ? JSON.stringify(report)
      : validateText(report, dataOnStdout ? output.stderrColors : output.colors)
  if (dataOnStdout) output.note(text)
  return {
    data: report,
    ...(dataOnStdout ? {} : { text }),
    exitCode: report.passed ? exitCodes.ok : exitCodes.failure,
    error: {
      code: "QUALITY_GATE",
      message: `${plural(report.bad, "record")} of ${report.read} not valid`,
      hint: flags.deadLetter === undefined ? "see them with --dead-letter FILE" : `see ${flags.deadLetter}`,
      where: flags.inFile,
    },
  }
}
