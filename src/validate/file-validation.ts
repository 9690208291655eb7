import { createHash } from "node:crypto"
import type { SourceContext } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { canonicalJson } from "../core/json.ts"
import type { Batch, RecordObject } from "../core/records.ts"
import type { LetterOrigin } from "../dead-letters/letter.ts"
import {
  Expanded,
  FILTERED,
  recordPath,
  Rejected,
  type Outcome,
  type RecordPath,
} from "../engine/pipeline/record-path.ts"
import { csvRows, jsonlRows, type GoodFormat, type GoodRows } from "./good-rows.ts"
import type { Input, InputReader } from "./input.ts"
import type { LetterFrame } from "./letter-line.ts"
import { LetterOutput } from "./letter-output.ts"
import { LetterTexts } from "./letter-texts.ts"
import { LetterWriter, type LettersOfInput } from "./letter-writer.ts"
import type { ValidateFilesOptions } from "./options.ts"
import { nowhere, outputFile, toStdout, type OutputFile } from "./output-file.ts"
import { OutputText } from "./output-text.ts"
import { outputProperties, stepsFor } from "./steps.ts"
import { KnownValues, sureLetters } from "./sure-letters.ts"
import { sureRows } from "./sure-rows.ts"
import { FaultTally, type FileCounts, type ValidateReport } from "./tally.ts"

/** Records judged before text that is ready to be written has its turn, where letters are put together elsewhere. */
const RECORDS_AT_ONCE = 2_000

/** Letters that take longer to put together than a thread to begin. */
const THREAD_FROM = 20_000

/** One validation with files at its end: opened, given its inputs one after the other, and completed or discarded. */
export class FileValidation {
  readonly #options: ValidateFilesOptions
  readonly #context: SourceContext
  readonly #inputs: readonly Input[]
  readonly #tally = new FaultTally()
  readonly #files: FileCounts[] = []
  readonly #warned = new Set<string>()
  readonly #startedAt: number
  readonly #frame: Omit<LetterFrame, "time">
  readonly #totalBytes: number | undefined
  #good: OutputFile = nowhere
  #letters: OutputFile = nowhere
  #goodText = new OutputText(nowhere)
  #letterOutput = new LetterOutput(nowhere, Infinity)
  readonly #known = new KnownValues()
  #rows: GoodRows | undefined
  #read = 0
  #bad = 0
  #bytes = 0

  constructor(options: ValidateFilesOptions, context: SourceContext, inputs: readonly Input[]) {
    const { clock, random } = options.ports
    this.#options = options
    this.#context = context
    this.#inputs = inputs
    this.#startedAt = clock.monotonic()
    const stamp = new Date(clock.now()).toISOString().replace(/[-:]|\.\d+/g, "")
    const description = canonicalJson(options.schema.description)
    this.#frame = {
      pipeline: options.pipeline ?? "validate",
      runId: `validate_${stamp}_${random.hex(4)}`,
      schemaVersion: createHash("sha256").update(description).digest("hex").slice(0, 16),
      secrets: options.schema.secrets,
    }
    const sizes = inputs.map(({ bytes }) => bytes ?? Number.NaN)
    const total = sizes.reduce((sum, size) => sum + size, 0)
    this.#totalBytes = Number.isNaN(total) ? undefined : total
  }

  async open(): Promise<void> {
    const { goodOut, deadLetter, threadFrom = THREAD_FROM } = this.#options
    if (goodOut !== undefined && goodOut !== "-") this.#rows = this.#rowsAs(formatOfOutput(goodOut))
    this.#good = await this.#output(goodOut)
    this.#letters = await this.#output(deadLetter)
    this.#goodText = new OutputText(this.#good)
    this.#letterOutput = new LetterOutput(this.#letters, threadFrom)
    await this.#letterOutput.open()
  }

  async take(input: Input): Promise<void> {
    if (this.#isEnough()) return
    const before = { read: this.#read, bad: this.#bad }
    const reader = input.open(this.#context)
    const letters = this.#lettersOf(input)
    let path: RecordPath | undefined
    for await (const batch of reader) {
      path ??= this.#begin(input, reader)
      await this.#takeBatch(batch, path, input, letters)
      if (this.#isEnough()) break
    }
    // A file with a header and nothing else has columns, too.
    if (path === undefined && reader.columns !== undefined) this.#begin(input, reader)
    const read = this.#read - before.read
    const bad = this.#bad - before.bad
    if (read === 0) this.#warn(`${input.name} has no records`)
    this.#files.push({ file: input.name, read, good: read - bad, bad })
  }

  async complete(): Promise<ValidateReport> {
    await this.#good.write(Buffer.from(this.#rows?.header() ?? ""))
    await this.#letterOutput.finish()
    await Promise.all([this.#letters.finish(), this.#good.finish()])
    this.#context.signal.throwIfAborted()
    // Whoever waits for the good records finds the letters, too.
    await this.#letters.publish()
    await this.#good.publish()
    return this.#report()
  }

  async discard(): Promise<void> {
    await this.#letterOutput.end()
    await this.#good.discard()
    await this.#letters.discard()
  }

  #report(): ValidateReport {
    const { minPassRate = 1, goodOut, deadLetter, ports } = this.#options
    const good = this.#read - this.#bad
    const passRate = this.#read === 0 ? null : good / this.#read
    return {
      runId: this.#frame.runId,
      read: this.#read,
      good,
      bad: this.#bad,
      passRate,
      minPassRate,
      passed: passRate === null || passRate >= minPassRate,
      codes: { ...this.#tally.codes },
      faults: this.#tally.most(),
      files: this.#files,
      goodOut: goodOut ?? null,
      deadLetter: deadLetter ?? null,
      limited: this.#isEnough(),
      durationMs: Math.round(ports.clock.monotonic() - this.#startedAt),
    }
  }

  #output(name: string | undefined): Promise<OutputFile> {
    if (name === undefined) return Promise.resolve(nowhere)
    if (name === "-") return Promise.resolve(toStdout(this.#options.stdout))
    return outputFile(name, this.#inputs, this.#context)
  }

  #rowsAs(format: GoodFormat): GoodRows {
    if (format === "jsonl") return jsonlRows
    return csvRows(outputProperties(this.#options.schema), (property) =>
      this.#warn(`${JSON.stringify(property)} is not in the schema and is left out of the CSV`),
    )
  }

  #lettersOf({ name }: Input): LettersOfInput {
    const { secrets } = this.#options.schema
    const origin: LetterOrigin = { pipeline: this.#frame.pipeline, partition: name, unit: "file", secrets }
    return { origin, texts: new LetterTexts(origin, this.#frame, this.#tally), tally: this.#tally }
  }

  /** Looks at the columns of an input whose first batch, or end, was reached. */
  #begin(input: Input, reader: InputReader): RecordPath {
    const { schema, goodOut } = this.#options
    const { columns } = reader
    const untyped = reader.format?.untyped ?? true
    const path = recordPath(stepsFor(schema, untyped), input.name, (error) => this.#warn(error.message))
    path.meetColumns(columns)
    if (goodOut === "-") this.#rows ??= this.#rowsAs(untyped ? "csv" : "jsonl")
    if (columns !== undefined) {
      this.#rows?.meetColumns(columns)
      const unknown = columns.filter((name) => schema.inputs?.has(name) === false)
      for (const name of unknown) this.#warn(`${input.name}: the column ${JSON.stringify(name)} is not in the schema`)
    }
    return path
  }

  async #takeBatch(batch: Batch, path: RecordPath, input: Input, lettersOfInput: LettersOfInput): Promise<void> {
    this.#context.signal.throwIfAborted()
    const { schema, limit = Infinity, ports, on } = this.#options
    const rows = this.#rows
    const { text } = this.#goodText
    lettersOfInput.texts.begin(ports.clock.now())
    const lines = this.#letterOutput.begin({ origin: lettersOfInput.origin, source: batch.fields })
    const letters = new LetterWriter(batch, lettersOfInput, lines)
    const settle = (i: number, outcome: Outcome): void => {
      if (outcome instanceof Rejected) {
        letters.write(i, outcome.faults)
        sureLetter?.learn(i, outcome.faults)
      } else if (rows !== undefined) {
        sure?.flush()
        for (const record of recordsOf(outcome)) text.add(rows.line(record))
      }
    }

    text.add(rows?.header() ?? "")
    const sure = rows && sureRows(schema, batch, rows.columns, rows.format, text)
    const sureLetter = sureLetters(schema, batch, this.#known, letters)
    const length = Math.min(batch.length, limit - this.#read)
    for (let i = 0; i < length; i++) {
      if (lines.isFull) await lines.send()
      if (i % RECORDS_AT_ONCE === 0 && lines.isElsewhere) await ports.clock.turn()
      if (sure?.take(i) === true || sureLetter?.write(i, sure?.doubtfulFrom ?? 0) === true) continue
      const outcome = path.process(batch, i)
      settle(i, outcome instanceof Promise ? await outcome : outcome)
    }
    sure?.flush()
    this.#read += length
    this.#bytes += batch.bytes
    const bad = letters.finish()
    this.#bad += bad
    await this.#goodText.send()
    await lines.send()
    this.#letterOutput.judge({ records: length, letters: bad, known: letters.known, readShare: this.#readShare() })
    on?.({
      file: input.name,
      read: this.#read,
      bad: this.#bad,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
    })
  }

  #readShare(): number | undefined {
    return this.#totalBytes === undefined ? undefined : this.#bytes / this.#totalBytes
  }

  #isEnough(): boolean {
    return this.#read >= (this.#options.limit ?? Infinity)
  }

  #warn(message: string): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#options.warn?.(message)
  }
}

function recordsOf(outcome: Exclude<Outcome, Rejected>): readonly RecordObject[] {
  if (outcome === FILTERED) return []
  return outcome instanceof Expanded ? outcome.records : [outcome]
}

function formatOfOutput(name: string): GoodFormat {
  if (/\.csv$/i.test(name)) return "csv"
  if (/\.(?:jsonl|ndjson)$/i.test(name) || name === "/dev/null") return "jsonl"
  throw new SpillwayError("CONFIG", `the name ${JSON.stringify(name)} does not tell in which format to write`, {
    hint: "end it in .csv or .jsonl",
  })
}
