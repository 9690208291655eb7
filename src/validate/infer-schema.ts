import { basename } from "node:path"
import type { SourceContext } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Ports } from "../core/ports.ts"
import { DecodeFault } from "../core/records.ts"
import { isMasked, masking } from "../dead-letters/masking.ts"
import { uncompressedName } from "../formats/compression.ts"
import { ValueEvidence } from "../schema/infer-evidence.ts"
import { toJsonSchema } from "../schema/infer-json-schema.ts"
import { fieldOf } from "../schema/infer-type.ts"
import { wordsFor } from "../schema/infer-words.ts"
import { printZod, type InferredSchema } from "../schema/infer-zod.ts"
import { findInputs, type FormatName, type Input } from "./input.ts"

export interface InferSchemaOptions {
  /** A path, a folder, a glob, or `-` for `stdin`. */
  readonly input: string
  readonly format: FormatName | undefined
  /** Look at so many records only. Default: all, and then the schema takes every one of them. */
  readonly rows: number | undefined
  readonly directory: string
  readonly ports: Ports
  readonly signal: AbortSignal
  readonly stdin: AsyncIterable<unknown>
}

export interface InferredReport {
  readonly name: string
  /** Records that were looked at. */
  readonly records: number
  /** Records that cannot be decoded; they say nothing. */
  readonly undecodable: number
  /** Not every record was looked at. */
  readonly sampled: boolean
  readonly typescript: string
  readonly jsonSchema: Readonly<Record<string, unknown>>
  /** What was seen of each property. */
  readonly properties: readonly {
    readonly property: string
    readonly type: string
    readonly optional: boolean
    readonly nullable: boolean
    readonly evidence: string
  }[]
}

const MAX_RECORD_BYTES = 16 * 1024 * 1024
/** A record with more is keyed by data. */
const MOST_PROPERTIES = 1600

/**
 * A schema that the records of the input meet, from what is in them. Reads as `validateFiles` does, in constant memory. Throws `CONFIG`
 * when there is no record, or when keys are data; what is wrong with a file as a whole as it is.
 */
export async function inferSchema(options: InferSchemaOptions): Promise<InferredReport> {
  const { ports, directory, signal } = options
  const context: SourceContext = { ports, directory, signal, exact: new Set(), maxRecordBytes: MAX_RECORD_BYTES }
  const inputs = await findInputs(options.input, options.format, context, options.stdin)
  const survey = new Survey(options.rows ?? Infinity)
  for (const input of inputs) {
    if (survey.isEnough) break
    await survey.take(input, context)
  }
  if (survey.records === 0 && survey.properties.size === 0)
    throw new SpillwayError("CONFIG", `${options.input} holds no records that can be read`, {
      where: options.input,
      hint:
        survey.undecodable > 0
          ? `${survey.undecodable} cannot be decoded: is it another format? --format csv, jsonl or json`
          : "there is nothing to infer a schema from",
    })
  return reportOf(survey, inputs)
}

class Survey {
  records = 0
  undecodable = 0
  readonly properties = new Map<string, ValueEvidence>()
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit
  }

  get isEnough(): boolean {
    return this.records >= this.#limit
  }

  async take(input: Input, context: SourceContext): Promise<void> {
    const reader = input.open(context)
    for await (const batch of reader) {
      for (let i = 0; i < batch.length && !this.isEnough; i++) {
        const record = batch.record(i)
        if (record instanceof DecodeFault) this.undecodable++
        else this.#add(record, reader.format?.untyped ?? true)
      }
      if (this.isEnough) break
      await context.ports.clock.turn()
    }
    // A file with a header and nothing else has columns, too.
    for (const column of reader.columns ?? []) this.#evidence(column, true)
  }

  #add(record: Readonly<Record<string, unknown>>, untyped: boolean): void {
    this.records++
    for (const property of Object.keys(record)) this.#evidence(property, untyped).add(record[property])
  }

  #evidence(property: string, untyped: boolean): ValueEvidence {
    const known = this.properties.get(property)
    if (known !== undefined) return known
    if (this.properties.size >= MOST_PROPERTIES)
      throw new SpillwayError("CONFIG", `the records have more than ${MOST_PROPERTIES} different keys`, {
        hint: "where keys are data there is no schema to infer; gather them under one property first",
      })
    const evidence = new ValueEvidence(untyped)
    this.properties.set(property, evidence)
    return evidence
  }
}

function reportOf(survey: Survey, inputs: readonly Input[]): InferredReport {
  const { records, undecodable, properties, isEnough } = survey
  const rule = masking()
  const isHidden = (path: readonly string[]): boolean => isMasked(path, rule)
  const whole = Math.max(records, 1)
  const fields = [...properties].map(([property, evidence]) => {
    const field = fieldOf([property], evidence, whole, isHidden)
    return { ...field, words: wordsFor(field, whole, isHidden([property])) }
  })
  const schema: InferredSchema = { name: nameFor(inputs), origin: originOf(survey, inputs), fields }
  return {
    name: schema.name,
    records,
    undecodable,
    sampled: isEnough,
    typescript: printZod(schema),
    jsonSchema: toJsonSchema(schema),
    properties: fields.map(({ name, type, optional, nullable, words }) => ({
      property: name,
      type: type.is,
      optional,
      nullable,
      evidence: words,
    })),
  }
}

function originOf({ records, undecodable, isEnough }: Survey, inputs: readonly Input[]): string[] {
  const [first] = inputs
  const where =
    inputs.length === 1 && first !== undefined
      ? first.name === "-"
        ? "standard input"
        : printable(basename(first.name))
      : `${inputs.length} files`
  const count = records.toLocaleString("en")
  return [
    isEnough
      ? `Inferred from the first ${count} records of ${where}; others may differ.`
      : `Inferred from ${where}: ${count} ${records === 1 ? "record" : "records"}, all of which it takes.`,
    ...(undecodable > 0 ? [`${undecodable.toLocaleString("en")} more cannot be decoded.`] : []),
  ]
}

const printable = (name: string): string => name.replace(/[\p{C}\u2028\u2029]/gu, "?")

/** `raw_orders.csv.gz` → `RawOrders`; `2011-03.csv` → `Record201103`. */
function nameFor(inputs: readonly Input[]): string {
  const [first] = inputs
  const file = inputs.length === 1 && first !== undefined ? uncompressedName(basename(first.name)) : ""
  const words = file.replace(/\.[^.]*$/, "").match(/[A-Za-z0-9]+/g) ?? []
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("")
  if (!/^[A-Z]/.test(name)) return `Record${name}`
  return name in globalThis ? `${name}Record` : name
}
