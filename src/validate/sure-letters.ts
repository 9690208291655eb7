import { BEYOND_ASCII, SURE, unquotedJudges, type ByteCheck, type ByteJudge } from "../core/byte-check.ts"
import type { RecordSchema } from "../core/contracts.ts"
import {
  DecodeFault,
  FIELD_DOUBLED,
  FIELD_OFFSET,
  FIELD_QUOTED,
  type Batch,
  type Fault,
  type FieldRanges,
} from "../core/records.ts"
import { putUndoubled } from "../core/put-bytes.ts"
import type { LetterWriter } from "./letter-writer.ts"
import type { Faults } from "./short-way.ts"

const QUOTE = 0x22
/** A longer value is not remembered. */
const LONGEST_VALUE = 256
/** Values remembered for each property. */
const VALUES_KEPT = 1_000
const NO_FAULTS: readonly Fault[] = []

interface KnownValue {
  readonly bytes: Uint8Array
  readonly faults: readonly Fault[]
  /** Another value with the same hash. */
  readonly next: KnownValue | undefined
}

/**
 * What the schema said of single values of a property: it judges each property by itself, so the same value has the same faults
 * in the next record.
 */
class PropertyValues {
  readonly #values = new Map<number, KnownValue>()
  #count = 0
  /** Wrong values often come in a row. */
  #latest: KnownValue | undefined

  get isFull(): boolean {
    return this.#count >= VALUES_KEPT
  }

  /** The faults of a value, none for a right one; undefined when it was not seen before. */
  faultsOf(bytes: Uint8Array, from: number, to: number): readonly Fault[] | undefined {
    const latest = this.#latest
    if (latest !== undefined && isSame(latest.bytes, bytes, from, to)) return latest.faults
    let known = this.#values.get(hashOf(bytes, from, to))
    while (known !== undefined && !isSame(known.bytes, bytes, from, to)) known = known.next
    if (known !== undefined) this.#latest = known
    return known?.faults
  }

  note(bytes: Uint8Array, from: number, to: number, faults: readonly Fault[]): void {
    if (this.isFull || this.faultsOf(bytes, from, to) !== undefined) return
    const hash = hashOf(bytes, from, to)
    const next = this.#values.get(hash)
    this.#values.set(hash, { bytes: Uint8Array.prototype.slice.call(bytes, from, to), faults, next })
    this.#count++
  }
}

/** FNV-1a. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193)
  return hash
}

function isSame(known: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (known.length !== to - from) return false
  for (let n = 0; n < known.length; n++) if (known[n] !== bytes[from + n]) return false
  return true
}

/** What is known of the values of all properties. For one validation. */
export class KnownValues {
  readonly #byProperty = new Map<string, PropertyValues>()

  of(property: string): PropertyValues {
    let values = this.#byProperty.get(property)
    if (values === undefined) this.#byProperty.set(property, (values = new PropertyValues()))
    return values
  }
}

/** The short way of a record that is not valid from the bytes of a batch to its letter. */
export interface SureLetters {
  /**
   * Writes the letter of record i, counts its faults and says true; or does nothing, and the record goes the long way. The fields
   * before `from` are known to be right.
   */
  write(i: number, from: number): boolean
  /** Takes note of what the long way found wrong with record i, after `write` said false. */
  learn(i: number, faults: Faults): void
}

/** For rows with one bad value that has been met before, and for those that are not well formed. Undefined where there can be none. */
export function sureLetters(
  schema: RecordSchema,
  batch: Batch,
  known: KnownValues,
  writer: LetterWriter,
): SureLetters | undefined {
  const { fields } = batch
  const { byteChecks } = schema
  if (fields === undefined || byteChecks === undefined || fields.quote !== QUOTE) return undefined
  // A message that must not tell a secret depends on the whole record.
  if (schema.secrets.size > 0) return undefined
  const checks = fields.columns.map((name) => byteChecks.get(name))
  if (!checks.every((check) => check !== undefined)) return undefined
  const absent = [...byteChecks.keys()].filter((name) => !fields.columns.includes(name))
  if (absent.some((name) => byteChecks.get(name)?.optional !== true)) return undefined
  return new LettersOfFields(batch, fields, new DoubtfulValues(fields, checks), known, writer)
}

class LettersOfFields implements SureLetters {
  readonly #batch: Batch
  readonly #fields: FieldRanges
  readonly #doubtful: DoubtfulValues
  readonly #writer: LetterWriter
  readonly #values: readonly PropertyValues[]

  constructor(batch: Batch, fields: FieldRanges, doubtful: DoubtfulValues, known: KnownValues, writer: LetterWriter) {
    this.#batch = batch
    this.#fields = fields
    this.#doubtful = doubtful
    this.#writer = writer
    this.#values = fields.columns.map((name) => known.of(name))
  }

  write(i: number, from: number): boolean {
    if (!this.#fields.isWhole(i)) {
      const decoded = this.#batch.record(i)
      return decoded instanceof DecodeFault && this.#writer.writeUndecoded(i, decoded)
    }
    const doubtful = this.#doubtful
    if (!doubtful.find(i, from)) return false
    let faults = NO_FAULTS
    for (let n = 0; n < doubtful.count; n++) {
      const own = this.#valuesOf(n).faultsOf(
        this.#fields.bytes,
        doubtful.starts[n] as number,
        doubtful.ends[n] as number,
      )
      if (own === undefined) return false
      if (own.length === 0) continue
      if (faults.length > 0) return false
      faults = own
    }
    return faults.length > 0 && this.#writer.writeKnown(i, faults as Faults)
  }

  learn(i: number, faults: Faults): void {
    const doubtful = this.#doubtful
    if (doubtful.of !== i) return
    const { bytes, columns } = this.#fields
    const names = Array.from({ length: doubtful.count }, (_, n) => columns[doubtful.columns[n] as number])
    if (names.every((_, n) => this.#valuesOf(n).isFull)) return
    if (!faults.every(({ step, path }) => step === "validate" && names.includes(path))) return
    for (const [n, name] of names.entries()) {
      const own = faults.filter(({ path }) => path === name)
      this.#valuesOf(n).note(bytes, doubtful.starts[n] as number, doubtful.ends[n] as number, own)
    }
  }

  /** What is known of the property of the nth doubtful field. */
  #valuesOf(n: number): PropertyValues {
    return this.#values[this.#doubtful.columns[n] as number] as PropertyValues
  }
}

/** Finds the fields of a record whose bytes do not tell that they are right. */
class DoubtfulValues {
  /** The record whose fields were found; -1 for none. */
  of = -1
  /** Fields found: their columns, and where their bytes begin and end. */
  count = 0
  readonly columns: Int32Array
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly #fields: FieldRanges
  readonly #checks: readonly ByteCheck[]
  readonly #unquoted: readonly ByteJudge[]
  readonly #quoted: readonly ByteJudge[]
  readonly #scratch = Buffer.alloc(LONGEST_VALUE)

  constructor(fields: FieldRanges, checks: readonly ByteCheck[]) {
    this.#fields = fields
    this.#checks = checks
    this.#unquoted = unquotedJudges(fields, checks)
    this.#quoted = checks.map(({ judge }) => judge)
    this.columns = new Int32Array(checks.length)
    this.starts = new Int32Array(checks.length)
    this.ends = new Int32Array(checks.length)
  }

  /** Looks at the fields from `first` on. False when one of them is too long, or not ASCII. */
  find(i: number, first: number): boolean {
    const { starts, ends } = this.#fields
    const width = this.#checks.length
    let slot = i * width + first
    let from = first === 0 ? (starts[i] as number) : ((ends[slot - 1] as number) & FIELD_OFFSET) + 1
    this.of = -1
    this.count = 0
    for (let column = first; column < width; column++) {
      const end = ends[slot++] as number
      const to = end & FIELD_OFFSET
      const isClear =
        end < FIELD_QUOTED
          ? this.#look(this.#unquoted, column, from, to)
          : this.#lookInQuotes(column, from + 1, to - 1, end)
      if (!isClear) return false
      from = to + 1
    }
    this.of = i
    return true
  }

  #lookInQuotes(column: number, from: number, to: number, end: number): boolean {
    if (end < FIELD_DOUBLED) return this.#look(this.#quoted, column, from, to)
    if (to - from > LONGEST_VALUE) return false
    const length = putUndoubled(this.#scratch, 0, this.#fields.bytes, from, to, QUOTE)
    // One that has to be looked up would have to be kept.
    return this.#isSure((this.#quoted[column] as ByteJudge)(this.#scratch, 0, length))
  }

  #look(judges: readonly ByteJudge[], column: number, from: number, to: number): boolean {
    const { bytes } = this.#fields
    if (from === to) {
      if (this.#checks[column]?.optional === true) return true
    } else if (this.#isSure((judges[column] as ByteJudge)(bytes, from, to))) return true
    if (to - from > LONGEST_VALUE) return false
    for (let at = from; at < to; at++) if ((bytes[at] as number) > 0x7e) return false
    this.columns[this.count] = column
    this.starts[this.count] = from
    this.ends[this.count++] = to
    return true
  }

  #isSure(verdict: number): boolean {
    return (verdict & SURE) !== 0 && ((verdict & BEYOND_ASCII) === 0 || this.#fields.isUtf8())
  }
}
