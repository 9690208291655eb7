import { BEYOND_ASCII, SURE, type ByteCheck, type RecordSchema } from "../core/contracts.ts"
import {
  DecodeFault,
  FIELD_DOUBLED,
  FIELD_OFFSET,
  FIELD_QUOTED,
  type Batch,
  type Fault,
  type FieldRanges,
} from "../core/records.ts"
import { withoutDoubling } from "./doubled-quotes.ts"
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
}

/**
 * What the schema said of single values of a property: it judges each property by itself, so the same value has the same faults
 * in the next record.
 */
class PropertyValues {
  readonly #values = new Map<string, KnownValue>()
  /** Wrong values often come in a row. */
  #latest: KnownValue | undefined

  /** The faults of a value, none for a right one; undefined when it was not seen before. */
  faultsOf(bytes: Uint8Array, from: number, to: number): readonly Fault[] | undefined {
    if (this.#latest === undefined || !isSame(this.#latest.bytes, bytes, from, to))
      this.#latest = this.#values.get(latin1(bytes, from, to))
    return this.#latest?.faults
  }

  note(bytes: Uint8Array, from: number, to: number, faults: readonly Fault[]): void {
    if (this.#values.size >= VALUES_KEPT) return
    this.#values.set(latin1(bytes, from, to), { bytes: Uint8Array.prototype.slice.call(bytes, from, to), faults })
  }
}

const latin1 = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1")

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
  /** Takes note of what the long way found wrong with record i. */
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
  const doubtful = new DoubtfulValues(fields, checks)
  const values = fields.columns.map((name) => known.of(name))
  return {
    write(i, from) {
      if (!fields.isWhole(i)) {
        const decoded = batch.record(i)
        return decoded instanceof DecodeFault && writer.writeUndecoded(batch, i, decoded)
      }
      if (!doubtful.find(i, from)) return false
      let faults = NO_FAULTS
      for (const { column, bytes, from, to } of doubtful.found()) {
        const own = values[column]?.faultsOf(bytes, from, to)
        if (own === undefined) return false
        if (own.length === 0) continue
        if (faults.length > 0) return false
        faults = own
      }
      return faults.length > 0 && writer.writeRow(batch, i, fields, faults as Faults)
    },
    learn(i, faults) {
      if (!fields.isWhole(i) || !doubtful.find(i, 0)) return
      const found = doubtful.found()
      const names = found.map(({ column }) => fields.columns[column])
      if (!faults.every(({ step, path }) => step === "validate" && names.includes(path))) return
      for (const { column, bytes, from, to } of found) {
        const own = faults.filter(({ path }) => path === fields.columns[column])
        values[column]?.note(bytes, from, to, own)
      }
    },
  }
}

interface Doubtful {
  readonly column: number
  readonly bytes: Uint8Array
  readonly from: number
  readonly to: number
}

/** Finds the fields of a record whose bytes do not tell that they are right. */
class DoubtfulValues {
  readonly #found: Doubtful[] = []
  readonly #fields: FieldRanges
  readonly #checks: readonly ByteCheck[]
  readonly #scratch = Buffer.alloc(LONGEST_VALUE)

  constructor(fields: FieldRanges, checks: readonly ByteCheck[]) {
    this.#fields = fields
    this.#checks = checks
  }

  found(): readonly Doubtful[] {
    return this.#found
  }

  /** Looks at the fields from `first` on. False when one of them is too long, or not ASCII. */
  find(i: number, first: number): boolean {
    const { starts, ends, columns } = this.#fields
    const width = columns.length
    let slot = i * width + first
    let from = first === 0 ? (starts[i] as number) : ((ends[slot - 1] as number) & FIELD_OFFSET) + 1
    this.#found.length = 0
    for (let column = first; column < width; column++) {
      const end = ends[slot++] as number
      const to = end & FIELD_OFFSET
      const isClear =
        end < FIELD_QUOTED ? this.#look(column, from, to) : this.#lookInQuotes(column, from + 1, to - 1, end)
      if (!isClear) return false
      from = to + 1
    }
    return true
  }

  #lookInQuotes(column: number, from: number, to: number, end: number): boolean {
    if (end < FIELD_DOUBLED) return this.#look(column, from, to)
    if (to - from > LONGEST_VALUE) return false
    const length = withoutDoubling(this.#fields.bytes, from, to, this.#scratch)
    // One that has to be looked up would have to be kept.
    return (this.#verdict(column, this.#scratch, 0, length) & SURE) !== 0
  }

  #look(column: number, from: number, to: number): boolean {
    const { bytes } = this.#fields
    if (from === to && this.#checks[column]?.optional === true) return true
    const verdict = from === to ? 0 : this.#verdict(column, bytes, from, to)
    if ((verdict & SURE) !== 0) return true
    if (to - from > LONGEST_VALUE) return false
    for (let at = from; at < to; at++) if ((bytes[at] as number) > 0x7e) return false
    this.#found.push({ column, bytes, from, to })
    return true
  }

  #verdict(column: number, bytes: Uint8Array, from: number, to: number): number {
    const verdict = (this.#checks[column] as ByteCheck).judge(bytes, from, to)
    return (verdict & BEYOND_ASCII) === 0 || this.#fields.isUtf8() ? verdict : 0
  }
}
