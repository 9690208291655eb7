import { resolve } from "node:path"
import type { SourceContext } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { FileValidation } from "./file-validation.ts"
import { findInputs } from "./input.ts"
import type { ValidateFilesOptions } from "./options.ts"
import type { ValidateReport } from "./tally.ts"

const MAX_RECORD_BYTES = 16 * 1024 * 1024

/**
 * Takes every record of the input through the engine's record path: valid ones go to `goodOut`, each of the others becomes one letter in
 * `deadLetter` with all its faults. The outputs appear when all is read. Opens no database. Throws what stops the whole: `CONFIG`, `RESOURCE`,
 * `CANCELLED`, and what is wrong with a file as a whole (`DECODE`, `SCHEMA_DRIFT`, `DATA_LOSS`); no output appears then.
 */
export async function validateFiles(options: ValidateFilesOptions): Promise<ValidateReport> {
  const { schema, ports, directory, signal, goodOut, deadLetter } = options
  const isOnePlace = goodOut !== undefined && deadLetter !== undefined && resolve(goodOut) === resolve(deadLetter)
  if (isOnePlace && goodOut !== "/dev/null")
    throw new SpillwayError("CONFIG", "good records and dead letters cannot go to the same place", {
      where: goodOut,
      hint: "give --good-out and --dead-letter names of their own",
    })
  const maxRecordBytes = options.maxRecordBytes ?? MAX_RECORD_BYTES
  const context: SourceContext = { ports, directory, signal, exact: schema.exact, maxRecordBytes }
  const inputs = await findInputs(options.input, options.format, context, options.stdin)
  const validation = new FileValidation(options, context, inputs)
  try {
    await validation.open()
    for (const input of inputs) await validation.take(input)
    return await validation.complete()
  } catch (error) {
    await validation.discard()
    throw error
  }
}
