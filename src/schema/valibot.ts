import type { JsonSchema } from "./json-schema.ts"

/** The part of a valibot schema (version 1) that is read here; valibot itself is never imported. */
interface ValibotNode {
  readonly kind?: unknown
  readonly type?: unknown
  readonly entries?: Readonly<Record<string, ValibotNode>>
  readonly wrapped?: ValibotNode
  readonly options?: readonly unknown[]
  readonly literal?: unknown
  readonly default?: unknown
  readonly requirement?: unknown
  readonly pipe?: readonly ValibotNode[]
  readonly metadata?: unknown
}

type Side = "input" | "output"

/**
 * What a valibot schema tells of its records, as JSON Schema, which valibot does not give by itself: names, types, what may be absent. Rules
 * are left to valibot. Undefined for what is no object.
 */
export function valibotJsonSchema(schema: object, side: Side): JsonSchema | undefined {
  const json = described(schema, side)
  return json["type"] === "object" && "properties" in json ? json : undefined
}

const OPAQUE: JsonSchema = { "x-spillway": { kind: "opaque" } }

function described(node: ValibotNode, side: Side): JsonSchema {
  if (node.pipe === undefined) return own(node, side)
  return node.pipe.reduce<JsonSchema>((json, step, n) => (n === 0 ? own(step, side) : refined(json, step, side)), {})
}

function own(node: ValibotNode, side: Side): JsonSchema {
  switch (node.type) {
    case "object":
    case "loose_object":
    case "strict_object":
    case "object_with_rest":
      return objectOf(node, side)
    case "optional":
    case "exact_optional":
    case "undefinedable":
    case "non_optional":
    case "non_nullable":
    case "non_nullish":
      return described(node.wrapped ?? {}, side)
    case "nullable":
    case "nullish":
      return orNull(described(node.wrapped ?? {}, side), node, side)
    case "string":
    case "number":
    case "boolean":
    case "array":
      return { type: node.type }
    case "tuple":
      return { type: "array" }
    case "record":
      return { type: "object" }
    case "bigint":
    case "date":
      return { "x-spillway": { kind: node.type } }
    case "picklist":
    case "enum":
      return { enum: node.options ?? [] }
    case "literal":
      return typeof node.literal === "bigint" ? OPAQUE : { const: node.literal }
    case "any":
    case "unknown":
      return {}
    case "union":
      return { anyOf: (node.options ?? []).map((option) => described(option as ValibotNode, side)) }
    default:
      return OPAQUE
  }
}

const orNull = (json: JsonSchema, node: ValibotNode, side: Side): JsonSchema =>
  side === "output" && node.default !== undefined ? json : { anyOf: [json, { type: "null" }] }

function objectOf(node: ValibotNode, side: Side): JsonSchema {
  const entries = Object.entries(node.entries ?? {})
  const open = node.type === "loose_object" || node.type === "object_with_rest"
  return {
    type: "object",
    properties: Object.fromEntries(entries.map(([name, entry]) => [name, described(entry, side)])),
    required: entries.filter(([, entry]) => !mayBeAbsent(entry, side)).map(([name]) => name),
    ...(open ? { additionalProperties: {} } : {}),
  }
}

function mayBeAbsent({ type, default: fallback }: ValibotNode, side: Side): boolean {
  if (type !== "optional" && type !== "exact_optional" && type !== "nullish" && type !== "undefinedable") return false
  return side === "input" || fallback === undefined
}

const TEXT_FORMATS: Readonly<Record<string, string>> = {
  iso_date: "date",
  iso_time_second: "time",
  iso_timestamp: "date-time",
  uuid: "uuid",
}

/** Changes that leave a value of its kind. */
const SAME_KIND: ReadonlySet<unknown> = new Set([
  ...["trim", "trim_start", "trim_end", "to_lower_case", "to_upper_case", "normalize", "brand", "readonly", "flavor"],
  ...["to_min_value", "to_max_value"],
])

/** `v.metadata({ secret: true })` */
const isSecret = ({ metadata }: { readonly metadata?: unknown }): boolean =>
  typeof metadata === "object" && metadata !== null && "secret" in metadata && metadata.secret === true

/** `json` after one more step of a pipe. */
function refined(json: JsonSchema, { kind, type, requirement, ...step }: ValibotNode, side: Side): JsonSchema {
  if (type === "metadata" && isSecret(step)) return { ...json, secret: true }
  if (kind === "schema") return side === "output" ? described({ kind, type, ...step }, side) : json
  if (kind === "transformation" && !SAME_KIND.has(type)) return side === "output" ? OPAQUE : json
  if (json["type"] === "number") {
    if (type === "integer" || type === "safe_integer") return { ...json, type: "integer" }
  }
  if (json["type"] === "integer" && typeof requirement === "number") {
    if (type === "min_value") return { ...json, minimum: requirement }
    if (type === "max_value") return { ...json, maximum: requirement }
  }
  const format = json["type"] === "string" && typeof type === "string" ? TEXT_FORMATS[type] : undefined
  return format === undefined ? json : { ...json, format }
}
