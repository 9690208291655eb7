import type { Column } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { PropertyShape, RecordShape, ValueKind } from "./shape.ts"
import { checkedName, snakeCase } from "./snake-case.ts"

/** How one property's column differs from what the schema tells. */
export interface ColumnOptions {
  /** Default: the property in snake_case. */
  name?: string
  /** A PostgreSQL type as written in DDL: `numeric(12,2)`, `timestamptz`, `varchar(20)` … */
  type?: string
  /** Default: what the schema tells; true where it cannot. */
  nullable?: boolean
  /** For `timestamptz`: the zone of text that carries none (`UTC`, `Europe/London`). */
  zone?: string
}

export type ColumnOverrides = Readonly<Record<string, ColumnOptions>>

const COLUMN_TYPES: Readonly<Record<Exclude<ValueKind, "opaque" | "null">, string>> = {
  text: "text",
  "date-text": "date",
  "time-text": "time",
  "instant-text": "timestamptz",
  "uuid-text": "uuid",
  "decimal-text": "numeric",
  number: "double precision",
  integer: "bigint",
  boolean: "boolean",
  bigint: "numeric",
  date: "timestamptz",
  json: "jsonb",
}

/** The column's type by the schema alone; undefined when it cannot tell. */
function ownType({ kind, integerWidth, note }: PropertyShape): string | undefined {
  if (note.type !== undefined) return note.type
  if (kind === "opaque" || kind === "null") return undefined
  return kind === "integer" && integerWidth === 32 ? "integer" : COLUMN_TYPES[kind]
}

/**
 * The columns of what a schema puts out, with `overrides` winning. Where the schema lists no properties, `overrides` is the list;
 * undefined without either. Throws `CONFIG` and names every property whose type cannot be told.
 */
export function toColumns(
  shape: RecordShape | undefined,
  overrides: ColumnOverrides | undefined,
): readonly Column[] | undefined {
  if (shape === undefined) return overrides === undefined ? undefined : named(overrides)
  const untold: string[] = []
  const columns: Column[] = []
  for (const [property, own] of shape.properties) {
    const override = ownOverride(overrides, property)
    const type = override.type ?? ownType(own)
    if (type === undefined) untold.push(property)
    else
      columns.push(
        column(property, type, override, !own.required || own.acceptsNull || own.kind === "opaque", own.note.zone),
      )
  }
  if (untold.length > 0) throw untoldError(untold)
  return columns
}

function named(overrides: ColumnOverrides): readonly Column[] {
  const untold = Object.keys(overrides).filter((property) => overrides[property]?.type === undefined)
  if (untold.length > 0) throw untoldError(untold)
  return Object.entries(overrides).map(([property, override]) =>
    column(property, override.type ?? "text", override, true, undefined),
  )
}

function untoldError(properties: readonly string[]): SpillwayError {
  const list = properties.map((property) => JSON.stringify(property)).join(", ")
  return new SpillwayError("CONFIG", `the schema does not tell the column type of ${list}`, {
    hint: `name it: columns: { ${properties.map((property) => `${JSON.stringify(property)}: { type: "…" }`).join(", ")} }`,
  })
}

function column(
  property: string,
  type: string,
  override: ColumnOptions,
  nullable: boolean,
  zone: string | undefined,
): Column {
  return {
    property,
    name: override.name === undefined ? snakeCase(property) : checkedName(property, override.name),
    type,
    nullable: override.nullable ?? nullable,
    zone: override.zone === undefined ? zone : checkedZone(property, override.zone),
  }
}

function checkedZone(property: string, zone: string): string {
  if (isZone(zone)) return zone
  throw new SpillwayError(
    "CONFIG",
    `columns: ${JSON.stringify(zone)} of ${JSON.stringify(property)} is not a time zone`,
    {
      hint: 'use "UTC" or a name such as "Europe/London"',
    },
  )
}

/** `UTC` or a name of the IANA time zone database. */
export function isZone(zone: string): boolean {
  if (zone === "UTC") return true
  if (!/^[A-Za-z]/.test(zone)) return false
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone })
    return true
  } catch {
    return false
  }
}

/** The options of one property; never what `Object.prototype` holds under that name. */
export function ownOverride(overrides: ColumnOverrides | undefined, property: string): ColumnOptions {
  return overrides !== undefined && Object.hasOwn(overrides, property) ? (overrides[property] ?? {}) : {}
}
