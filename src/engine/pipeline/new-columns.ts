import { SURE, UNSURE, type ByteCheck, type ByteJudge } from "../../core/byte-check.ts"
import type { Column, RecordSchema } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import { DecodeFault, type Batch, type RecordObject } from "../../core/records.ts"
import { byteCheck, type ByteRule } from "../../schema/byte-checks.ts"
import { ColumnEvidence } from "../../schema/infer-column.ts"
import { snakeCase } from "../../schema/snake-case.ts"

/** A record holds a value in a column that the table does not have yet: the batch is encoded anew when it has. Never leaves the engine. */
export class NewColumnMet extends Error {
  constructor(property: string) {
    super(`a value in the new column ${JSON.stringify(property)}`)
    this.name = "NewColumnMet"
  }
}

/** Keys that are data themselves (identifiers, dates) would make a table of them. */
const MOST_PER_RUN = 100
const LINEAGE = ["_source", "_position", "_item", "_seq", "_run_id", "_part"]

/** The columns of a table that its schema does not know and the source does, as far as a run has learnt of them. */
export class NewColumns {
  readonly #known = new Map<string, Column>()
  readonly #before: number

  /** Whether further columns are added when they are met; otherwise the record that has one is set aside. */
  readonly grows: boolean

  /** `inTable`: those that earlier runs have added. */
  constructor(inTable: readonly Column[], { grows = true }: { grows?: boolean } = {}) {
    this.grows = grows
    this.learn(inTable)
    this.#before = inTable.length
  }

  /** In the order in which they stand in lines of COPY, behind those of the schema. */
  get columns(): readonly Column[] {
    return [...this.#known.values()]
  }

  of(property: string): Column | undefined {
    return this.#known.get(property)
  }

  learn(columns: readonly Column[]): void {
    for (const column of columns) this.#known.set(column.property, column)
  }

  /**
   * The columns that records of a batch have values for and that are not known yet, with the type that the values of the whole
   * batch agree on. Throws `SCHEMA_DRIFT` when one of them cannot be a column beside `others`.
   */
  propose(
    records: Iterable<RecordObject>,
    schema: RecordSchema,
    untyped: boolean,
    others: readonly Column[],
  ): Column[] {
    const evidence = new Map<string, ColumnEvidence>()
    for (const record of records)
      for (const property of Object.keys(record)) {
        if (schema.inputs?.has(property) !== false || this.#known.has(property)) continue
        let of = evidence.get(property)
        if (of === undefined) evidence.set(property, (of = new ColumnEvidence()))
        of.add(record[property], untyped)
      }
    const proposed: Column[] = []
    for (const [property, { type }] of evidence) {
      if (type === undefined) continue
      const taken = [...others, ...this.#known.values(), ...proposed]
      proposed.push({ property, name: freeName(property, taken), type, nullable: true })
    }
    const count = this.#known.size - this.#before + proposed.length
    if (count > MOST_PER_RUN)
      throw new SpillwayError("SCHEMA_DRIFT", `${count} new columns in one run are more than ${MOST_PER_RUN}`, {
        hint: "where keys are data, gather them under one property in prepare, and load that as jsonb",
      })
    return proposed
  }
}

/** The name of a new column, when no other has it. */
function freeName(property: string, others: readonly Column[]): string {
  const refuse = (why: string): SpillwayError =>
    new SpillwayError("SCHEMA_DRIFT", `the new column ${JSON.stringify(property)} cannot be added: ${why}`, {
      hint: 'rename it in prepare, add it to the schema, or set onNewColumn to "ignore"',
      context: { columns: [property] },
    })
  let name: string
  try {
    name = snakeCase(property)
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error))
  }
  if (LINEAGE.includes(name)) throw refuse(`"${name}" is one of Spillway's own`)
  const other = others.find((column) => column.name === name || column.property === property)
  if (other !== undefined)
    throw refuse(`${JSON.stringify(other.property)} is already loaded into the column "${other.name}"`)
  return name
}

/** Records of a batch as they come to the schema; those that do not are left out. */
export function* preparedRecords(
  batch: Batch,
  prepare: ((record: RecordObject) => RecordObject) | undefined,
): Generator<RecordObject> {
  for (let i = 0; i < batch.length; i++) {
    const record = batch.record(i)
    if (record instanceof DecodeFault) continue
    try {
      yield prepare === undefined ? record : prepare(record)
    } catch {
      // The record path sets it aside.
    }
  }
}

/** A value of record `i` as its column takes it. What does not fit is left as it is, for the encoding to refuse. */
export function newValue(column: Column, value: unknown, untyped: boolean, batch: Batch, i: number): unknown {
  if (untyped) {
    if (value === "" && column.type !== "text") return null
    if (column.type === "boolean" && typeof value === "string") return value.toLowerCase()
    return value
  }
  const keepsText = column.type !== "json" && column.type !== "jsonb"
  return typeof value === "number" && keepsText ? (digitsOf(batch.raw(i), column.property, value) ?? value) : value
}

/** A number that may have more digits than a double holds; also hits some texts, which costs a second parse. */
const LONG_NUMBER = /\d[\d.]{15}|\d[eE][-+]?\d{3}/

/** The digits of a top-level number as they stand in a JSON record; undefined where a double holds them all. */
function digitsOf(raw: Uint8Array, property: string, value: number): string | undefined {
  const text = Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString()
  if (!LONG_NUMBER.test(text)) return undefined
  const found: { holder: unknown; source: string }[] = []
  const note = function (this: unknown, key: string, inner: unknown, { source }: { source?: string }): unknown {
    if (key === property && inner === value && source !== undefined) found.push({ holder: this, source })
    return inner
  }
  try {
    const root: unknown = JSON.parse(text, note as (key: string, value: unknown) => unknown)
    return found.find(({ holder }) => holder === root)?.source
  } catch {
    // A source that is not JSON; its number is all there is.
    return undefined
  }
}

/** The byte check for a new column of a text format; undefined where none is sure: blanks then still go the fast way. */
export function newColumnCheck(column: Column): ByteCheck {
  const rule = BYTE_RULES[column.type]
  const unsure: ByteCheck = {
    optional: column.nullable,
    bare: false,
    acceptsNull: true,
    suffix: new Uint8Array(0),
    judge: () => UNSURE,
  }
  if (column.type === "date") return { ...unsure, judge: judgeDate }
  return (rule && byteCheck({ rule, optional: column.nullable }, column)) ?? unsure
}

const BYTE_RULES: Readonly<Record<string, ByteRule>> = {
  text: { kind: "text", least: 0, most: Infinity },
  numeric: { kind: "decimal", plain: true, test: () => true },
  timestamptz: { kind: "instant", zoneInText: true },
}

const DASH = 0x2d

/** `YYYY-MM-DD` by its digits; whether the day exists the database tells. */
const judgeDate: ByteJudge = (bytes, from, to) => {
  if (to - from !== 10) return UNSURE
  for (let at = 0; at < 10; at++) {
    const byte = bytes[from + at] as number
    if (at === 4 || at === 7 ? byte !== DASH : byte < 0x30 || byte > 0x39) return UNSURE
  }
  return SURE
}
