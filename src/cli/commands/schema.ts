import { resolve } from "node:path"
import type { Command } from "commander"
import { SpillwayError, systemCode } from "../../core/errors.ts"
import type { FormatName } from "../../validate/input.ts"
import type { InferredReport } from "../../validate/infer-schema.ts"
import { usageError } from "../errors.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import { standardInput } from "../standard-input.ts"
import type { Outcome } from "../output.ts"

interface InferFlags {
  format?: string
  rows?: string
  out?: string
  as?: string
}

const FORMATS: readonly string[] = ["csv", "jsonl", "json"] satisfies readonly FormatName[]

export function schemaCommand(program: Command, context: CommandContext): void {
  program
    .command("schema")
    .description("what records look like")
    .command("infer <file>")
    .description("a schema that the records of a file meet, with what was seen of each field; needs no database")
    .option("--format <format>", `${FORMATS.join(", ")} (default: by the name)`)
    .option("--rows <n>", "look at the first so many records only (default: all)")
    .option("--as <form>", "zod (TypeScript) or json-schema (default: by the name of --out, else zod)")
    .option("--out <file>", "write it to a new file")
    .addHelpText(
      "after",
      `
FILE may be a path, a glob in quotes, or - for standard input; also .gz and .zst. What was inferred from all records takes all of them.

Examples:
  spillway schema infer orders.csv --out schema.ts
  spillway validate --in-file orders.csv --schema schema.ts
  spillway schema infer 'in/*.jsonl.gz' --rows 100000 --as json-schema`,
    )
    .action((file: string, flags: InferFlags) => context.act((host) => infer(host, file, flags)))
}

async function infer(host: Host, file: string, flags: InferFlags): Promise<Outcome> {
  const { format, rows, asJson } = settingsOf(flags)
  const { output, ports, directory } = host
  const interrupt = interruptOf(
    host.signals,
    ports.clock,
    () => output.note("stopping"),
    () => undefined,
  )
  try {
    const path = flags.out === undefined ? undefined : await freeName(host, flags.out)
    const { inferSchema } = await import("../../validate/infer-schema.ts")
    const { typescript, jsonSchema, ...seen } = await inferSchema({
      input: file,
      format,
      rows,
      directory,
      ports,
      signal: interrupt.signal,
      stdin: standardInput(interrupt.signal),
    })
    const schema = asJson ? `${JSON.stringify(jsonSchema, null, 2)}\n` : typescript
    if (seen.undecodable > 0)
      output.warn(`${seen.undecodable} of ${seen.records + seen.undecodable} records cannot be decoded and say nothing`)
    if (path !== undefined) await write(host, path, schema)
    return {
      data: { ...seen, schema: asJson ? jsonSchema : typescript, out: flags.out ?? null },
      text: path === undefined ? schema.trimEnd() : summary(seen, flags.out ?? ""),
    }
  } catch (error) {
    if (interrupt.signal.aborted)
      throw new SpillwayError("CANCELLED", "it was stopped", {
        hint: "nothing was written; run the same command again",
      })
    throw error
  } finally {
    interrupt.dispose()
  }
}

function settingsOf({ format, rows, as, out }: InferFlags) {
  const faults: string[] = []
  const limit = rows === undefined ? undefined : Number(rows)
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0))
    faults.push(`--rows ${rows} is not a whole number from 1`)
  if (format !== undefined && !isFormat(format)) faults.push(`--format ${format} is not one of ${FORMATS.join(", ")}`)
  if (as !== undefined && as !== "zod" && as !== "json-schema") faults.push(`--as ${as} is neither zod nor json-schema`)
  if (faults.length > 0) throw usageError(faults.join("; "), "see spillway schema infer --help")
  return {
    format: format !== undefined && isFormat(format) ? format : undefined,
    rows: limit,
    asJson: as === undefined ? out?.toLowerCase().endsWith(".json") === true : as === "json-schema",
  }
}

const isFormat = (text: string): text is FormatName => FORMATS.includes(text)

/** A schema is edited by hand once it is there: it is never written over. */
async function freeName({ directory, ports }: Host, out: string): Promise<string> {
  const path = resolve(directory, out)
  try {
    await ports.files.stat(path)
  } catch (error) {
    if (systemCode(error) === "ENOENT") return path
    throw unwritable(error, path)
  }
  throw new SpillwayError("CONFIG", `${out} is there already`, {
    where: path,
    hint: "give --out a new name, or remove that file; what may have been edited by hand is not written over",
  })
}

async function write({ ports }: Host, path: string, text: string): Promise<void> {
  try {
    await ports.files.writeAtomic(path, text)
  } catch (error) {
    throw unwritable(error, path)
  }
}

const unwritable = (error: unknown, path: string): SpillwayError =>
  new SpillwayError("RESOURCE", `the schema cannot be written (${systemCode(error) ?? String(error)})`, {
    where: path,
    cause: error,
    hint: "check that the folder exists, may be written to, and has room",
  })

function summary(
  { name, records, properties }: Pick<InferredReport, "name" | "records" | "properties">,
  out: string,
): string {
  const count = `${records.toLocaleString("en")} ${records === 1 ? "record" : "records"}`
  return `● ${out}: ${name}, ${properties.length} ${properties.length === 1 ? "field" : "fields"} from ${count}`
}
