import type { Source } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import { DecodeFault, type Batch, type Fault, type RecordObject } from "../../core/records.ts"
import { shown } from "../../core/shown.ts"
import { judgeRecord, splitChecks } from "../../quality/gate.ts"
import type { Pipeline } from "../definition.ts"
import { NewColumnMet, newValue, type NewColumns } from "./new-columns.ts"

/** The record goes to the dead letters. */
export class Rejected {
  readonly faults: readonly [Fault, ...Fault[]]
  constructor(faults: readonly [Fault, ...Fault[]]) {
    this.faults = faults
  }
}

/** A transform made several records of one (or, empty, is the same as filtering it). */
export class Expanded {
  readonly records: readonly RecordObject[]
  constructor(records: readonly RecordObject[]) {
    this.records = records
  }
}

/** A transform left the record out. */
export const FILTERED = Symbol("filtered")

/** What became of a record: the record to load, or one of the above. */
export type Outcome = RecordObject | Rejected | Expanded | typeof FILTERED

/** The part of a pipeline that looks at single records. */
export type RecordSteps = Pick<Pipeline, "schema" | "output" | "prepare" | "transform" | "checks" | "onNewColumn"> & {
  readonly source: Pick<Source, "untyped">
}

export interface RecordPath {
  /** Takes record `i` through prepare, schema, transform and record-level checks. A promise only where the schema gives one. */
  process(batch: Batch, i: number): Outcome | Promise<Outcome>
  /** Judges the columns a partition says it has; throws `SCHEMA_DRIFT` when they hold the partition. */
  meetColumns(columns: readonly string[] | undefined): void
  /** The columns were looked at, and none is unknown: records need not be looked at for that. */
  columnsAreKnown(): boolean
  /**
   * With `onNewColumn: "evolve"`, what the record that was processed last holds in columns that the schema does not know, as
   * those columns take it; undefined for nothing. Every record that was made of it carries that.
   */
  newValues(): RecordObject | undefined
  /** Nulls per property seen since the last call. */
  takeNulls(): Record<string, number>
}

const reject = (fault: Fault): Rejected => new Rejected([fault])

/**
 * The way of a record from its batch to what is loaded; the same for tables, files and previews. `where` names the partition.
 * With `newColumns`, a value in a column that is not among them is thrown as `NewColumnMet`.
 */
export function recordPath(
  steps: RecordSteps,
  where: string,
  warn: (error: SpillwayError) => void,
  newColumns?: NewColumns,
): RecordPath {
  const { schema, output, prepare, transform, onNewColumn } = steps
  const untyped = steps.source.untyped
  const checks = splitChecks(steps.checks).record
  const properties = [...(schema.inputs ?? output.columns?.map((column) => column.property) ?? [])]
  const nulls = new Float64Array(properties.length)
  const ignored = new Set<string>()
  // A header that was looked at once spares looking at the keys of every record.
  let columnsAreKnown = schema.inputs === undefined
  let newValues: RecordObject | undefined

  function drift(unknown: readonly string[]): SpillwayError {
    const names = unknown.map((name) => JSON.stringify(name)).join(", ")
    return new SpillwayError(
      "SCHEMA_DRIFT",
      `${where} has ${unknown.length === 1 ? "a column" : "columns"} that the schema does not know: ${names}`,
      {
        where,
        hint: 'add it to the schema, or set onNewColumn to "evolve" (add it to the table), "ignore" (leave it out) or "deadLetter" (set such records aside)',
        context: { columns: unknown },
      },
    )
  }

  function meetColumns(columns: readonly string[] | undefined): void {
    if (columns === undefined || columns.length === 0 || prepare !== undefined) return
    const missing = [...schema.required].filter((name) => !columns.includes(name))
    if (missing.length > 0)
      throw new SpillwayError(
        "SCHEMA_DRIFT",
        `${where} lacks ${missing.length === 1 ? "the column" : "the columns"} ${missing.map((name) => JSON.stringify(name)).join(", ")}`,
        {
          where,
          hint: `it has ${columns.map((name) => JSON.stringify(name)).join(", ")}; ${columns.length === 1 ? "if that is one line with another delimiter, name it in csv({ delimiter })" : "make it optional in the schema, or mend the file"}`,
          context: { columns: missing },
        },
      )
    const inputs = schema.inputs
    if (inputs === undefined) return
    const unknown = columns.filter((name) => !inputs.has(name))
    if (unknown.length > 0 && onNewColumn === "fail") throw drift(unknown)
    columnsAreKnown = unknown.length === 0
  }

  const unknownColumn = (name: string, message: string): Rejected =>
    reject({ code: "SCHEMA_DRIFT", step: "validate", rule: "unknown_column", path: name, message })

  /** Takes the value of a new column out of a record before the schema sees it. */
  function takeNew(record: RecordObject, name: string, batch: Batch, i: number): Rejected | undefined {
    const value = record[name]
    delete record[name]
    if (value === null || value === undefined || (untyped && value === "")) return undefined
    const column = newColumns?.of(name)
    if (newColumns !== undefined && column === undefined) {
      if (newColumns.grows) throw new NewColumnMet(name)
      return unknownColumn(name, `${name}: the table does not have this column yet; a run of the pipeline adds it`)
    }
    newValues ??= Object.create(null) as RecordObject
    newValues[name] = column === undefined ? value : newValue(column, value, untyped, batch, i)
    return undefined
  }

  /** Applies the policy for unknown columns to one record. */
  function meetKeys(record: RecordObject, inputs: ReadonlySet<string>, batch: Batch, i: number): Rejected | undefined {
    for (const name of Object.keys(record)) {
      if (inputs.has(name)) continue
      if (onNewColumn === "fail") throw drift([name])
      if (onNewColumn === "evolve") {
        const rejected = takeNew(record, name, batch, i)
        if (rejected !== undefined) return rejected
        continue
      }
      if (onNewColumn === "deadLetter" && !(untyped && record[name] === null))
        return unknownColumn(name, `${name}: expected no such column`)
      if (!ignored.has(name)) {
        ignored.add(name)
        warn(
          new SpillwayError(
            "SCHEMA_DRIFT",
            `${where}: the column ${JSON.stringify(name)} is not in the schema and is left out`,
            { where, hint: "add it to the schema to load it" },
          ),
        )
      }
      delete record[name]
    }
    return undefined
  }

  function checked(record: RecordObject): Outcome {
    const [first, ...others] = judgeRecord(checks, record)
    return first === undefined ? record : new Rejected([first, ...others])
  }

  function transformed(valid: RecordObject): Outcome | Promise<Outcome> {
    if (transform === undefined) return checked(valid)
    let records: readonly RecordObject[]
    try {
      const result = transform(valid)
      if (result === undefined) return FILTERED
      records = Array.isArray(result) ? result.map(asRecord) : [asRecord(result)]
    } catch (error) {
      return reject({
        code: "TRANSFORM",
        step: "transform",
        message: `the transform failed: ${messageOf(error)}`,
        actualType: nameOf(error),
      })
    }
    const outcomes = records.map((record) => {
      if (output === schema) return checked(record)
      const validation = output.validate(record)
      return validation instanceof Promise ? validation.then(afterOutput) : afterOutput(validation)
    })
    if (!outcomes.some((outcome) => outcome instanceof Promise)) return together(outcomes as Outcome[])
    return Promise.all(outcomes.map((outcome) => Promise.resolve(outcome))).then(together)
  }

  const afterOutput = (validation: Awaited<ReturnType<typeof output.validate>>): Outcome => {
    if ("value" in validation) return checked(validation.value)
    return rejection(validation.faults.map((fault) => ({ ...fault, step: "transform" as const })))
  }

  /** One bad record among those a transform made sets the whole source record aside: half of it would be a loss. */
  function together(outcomes: readonly Outcome[]): Outcome {
    const bad = outcomes.find((outcome) => outcome instanceof Rejected)
    if (bad !== undefined) return bad
    if (outcomes.length === 0) return FILTERED
    if (outcomes.length === 1) return outcomes[0] as Outcome
    return new Expanded(outcomes as readonly RecordObject[])
  }

  const afterSchema = (validation: Awaited<ReturnType<typeof schema.validate>>): Outcome | Promise<Outcome> =>
    "value" in validation ? transformed(validation.value) : rejection(validation.faults)

  return {
    meetColumns,
    columnsAreKnown: () => columnsAreKnown,
    newValues: () => newValues,
    process(batch, i) {
      newValues = undefined
      let record = batch.record(i)
      if (record instanceof DecodeFault) return reject(record.fault)
      if (prepare !== undefined) {
        try {
          record = asRecord(prepare(record))
        } catch (error) {
          return reject({
            code: "TRANSFORM",
            step: "prepare",
            message: `prepare failed: ${messageOf(error)}`,
            actualType: nameOf(error),
          })
        }
      }
      if (!columnsAreKnown && schema.inputs !== undefined) {
        const rejected = meetKeys(record, schema.inputs, batch, i)
        if (rejected !== undefined) return rejected
      }
      schema.fit(record, untyped)
      for (let c = 0; c < properties.length; c++)
        if (record[properties[c] as string] == null) nulls[c] = (nulls[c] as number) + 1
      const validation = schema.validate(record)
      return validation instanceof Promise ? validation.then(afterSchema) : afterSchema(validation)
    },
    takeNulls() {
      const taken: Record<string, number> = {}
      properties.forEach((property, c) => {
        if (nulls[c]) taken[property] = nulls[c]
      })
      nulls.fill(0)
      return taken
    },
  }
}

/** What a step of the user's made, when it is a record; code without types may give anything. */
function asRecord(made: unknown): RecordObject {
  const late = made instanceof Promise
  // Whatever it comes to, nobody waits for it.
  if (late) made.catch(() => undefined)
  if (late || typeof made !== "object" || made === null || Array.isArray(made))
    throw new TypeError(`expected a record, got ${late ? "a promise" : shown(made)}`)
  return made as RecordObject
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
const nameOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error)

function rejection(faults: readonly Fault[]): Rejected {
  const [first, ...others] = faults
  if (first === undefined)
    return reject({
      code: "VALIDATION",
      step: "validate",
      rule: "unexplained",
      message: "the schema refused the record without saying why",
    })
  return new Rejected([first, ...others])
}
