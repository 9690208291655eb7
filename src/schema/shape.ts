/**
 * What a value is, as far as a JSON Schema tells: decides what text is converted to before validation, and the column's type.
 * `opaque`: the schema cannot tell (a transform's result, a mixture of types).
 */
export type ValueKind =
  | "text"
  | "date-text"
  | "time-text"
  | "instant-text"
  | "uuid-text"
  | "decimal-text"
  | "number"
  | "integer"
  | "boolean"
  | "bigint"
  | "date"
  | "json"
  | "null"
  | "opaque"

/** What `decimal()`, `timestamp()` and the zod adapter note in a JSON Schema, under the key `x-spillway`. */
export interface SpillwayNote {
  readonly kind?: ValueKind
  /** The column's type. */
  readonly type?: string
  readonly zone?: string
  /** What a fault says is expected. */
  readonly expected?: string
}

export interface PropertyShape {
  readonly kind: ValueKind
  readonly acceptsNull: boolean
  readonly required: boolean
  readonly integerWidth: 32 | 64 | undefined
  readonly note: SpillwayNote
}

/** The properties of a record, in the order of the schema. */
export interface RecordShape {
  readonly properties: ReadonlyMap<string, PropertyShape>
  /** The schema says by name that it takes properties it does not list. */
  readonly open: boolean
}

type Node = Readonly<Record<string, unknown>>
type Value = Omit<PropertyShape, "required">

const INT32 = { min: -2147483648, max: 2147483647 }

const TEXT_KINDS: Readonly<Record<string, ValueKind>> = {
  date: "date-text",
  time: "time-text",
  "date-time": "instant-text",
  uuid: "uuid-text",
}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

/** The properties that a JSON Schema enumerates, or undefined when it enumerates none. */
export function readRecordShape(root: Node): RecordShape | undefined {
  return new ShapeReader(root).record(root, new Set())
}

/** True when a JSON Schema says that its values are something other than objects. */
export function refusesObjects(root: Node): boolean {
  const { type } = root
  if (typeof type === "string") return type !== "object"
  return Array.isArray(type) && !type.includes("object")
}

const opaque: Value = { kind: "opaque", acceptsNull: false, integerWidth: undefined, note: {} }
const onlyNull: Value = { ...opaque, kind: "null", acceptsNull: true }
const anything: Value = { ...opaque, kind: "json", acceptsNull: true }

class ShapeReader {
  readonly #root: Node

  constructor(root: Node) {
    this.#root = root
  }

  record(node: Node, seen: ReadonlySet<Node>): RecordShape | undefined {
    if (seen.has(node)) return undefined
    const within = new Set(seen).add(node)
    const target = this.#resolve(node)
    const parts: RecordShape[] = []
    if (target !== undefined && target !== node) push(parts, this.record(target, within))
    if (isNode(node.properties)) parts.push(this.#ownProperties(node))
    for (const part of nodes(node.allOf)) push(parts, this.record(part, within))
    for (const keyword of ["anyOf", "oneOf"]) {
      const options = nodes(node[keyword]).filter((option) => !refusesObjects(option))
      const shapes = options.map((option) => this.record(option, within))
      if (shapes.length > 0 && shapes.every((shape) => shape !== undefined)) parts.push(either(shapes))
    }
    return parts.length === 0 ? undefined : both(parts)
  }

  #ownProperties(node: Node): RecordShape {
    const required = new Set(Array.isArray(node.required) ? node.required : [])
    const properties = new Map<string, PropertyShape>()
    for (const [property, schema] of Object.entries(node.properties as Node)) {
      const value = isNode(schema) ? this.#value(schema, new Set()) : schema === true ? anything : opaque
      properties.set(property, { ...value, required: required.has(property) })
    }
    const open =
      node.additionalProperties === true || isNode(node.additionalProperties) || isNode(node.patternProperties)
    return { properties, open }
  }

  #value(node: Node, seen: ReadonlySet<Node>): Value {
    if (seen.has(node)) return opaque
    const within = new Set(seen).add(node)
    const value = this.#declared(node, within)
    const note = node["x-spillway"]
    if (!isNode(note)) return value
    const own: SpillwayNote = note
    return { ...value, kind: own.kind ?? value.kind, note: { ...value.note, ...own } }
  }

  #declared(node: Node, seen: ReadonlySet<Node>): Value {
    const target = this.#resolve(node)
    if (target !== undefined) return this.#value(target, seen)
    if (node.nullable === true) return { ...this.#declared({ ...node, nullable: undefined }, seen), acceptsNull: true }
    if (Array.isArray(node.type))
      return alternatives(node.type.map((type: unknown) => this.#declared({ ...node, type }, seen)))
    const options = [...nodes(node.anyOf), ...nodes(node.oneOf)]
    if (options.length > 0) return alternatives(options.map((option) => this.#value(option, seen)))
    if ("const" in node) return ofValues([node.const])
    if (Array.isArray(node.enum)) return ofValues(node.enum)
    if (typeof node.type === "string") return ofType(node.type, node)
    const parts = nodes(node.allOf).map((part) => this.#value(part, seen))
    const told = parts.find((part) => part.kind !== "opaque")
    if (told !== undefined) return { ...told, acceptsNull: parts.every((part) => part.acceptsNull) }
    return isEmpty(node) ? anything : opaque
  }

  /** What a `$ref` within the document points to. */
  #resolve(node: Node): Node | undefined {
    if (typeof node.$ref !== "string" || !node.$ref.startsWith("#")) return undefined
    let found: unknown = this.#root
    for (const part of node.$ref.slice(1).split("/").slice(1)) {
      if (typeof found !== "object" || found === null) return undefined
      found = (found as Node)[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")]
    }
    return isNode(found) ? found : undefined
  }
}

/** Nothing but annotations: the schema accepts any value. (A note of ours says what the value is, so it is none of them.) */
const isEmpty = (node: Node): boolean =>
  Object.keys(node).every((key) =>
    ["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "secret"].includes(key),
  )

const nodes = (value: unknown): readonly Node[] => (Array.isArray(value) ? value.filter(isNode) : [])

function push<T>(into: T[], value: T | undefined): void {
  if (value !== undefined) into.push(value)
}

function ofType(type: string, node: Node): Value {
  switch (type) {
    case "string":
      return { ...opaque, kind: (typeof node.format === "string" ? TEXT_KINDS[node.format] : undefined) ?? "text" }
    case "integer":
      return { ...opaque, kind: "integer", integerWidth: fitsInt32(node) ? 32 : 64 }
    case "number":
      return { ...opaque, kind: "number" }
    case "boolean":
      return { ...opaque, kind: "boolean" }
    case "object":
    case "array":
      return { ...opaque, kind: "json" }
    case "null":
      return onlyNull
    default:
      return opaque
  }
}

function fitsInt32(node: Node): boolean {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = node
  const low =
    typeof minimum === "number" ? minimum : typeof exclusiveMinimum === "number" ? exclusiveMinimum + 1 : -Infinity
  const high =
    typeof maximum === "number" ? maximum : typeof exclusiveMaximum === "number" ? exclusiveMaximum - 1 : Infinity
  return low >= INT32.min && high <= INT32.max
}

const ofValues = (values: readonly unknown[]): Value =>
  alternatives(
    values.map((value) => {
      if (value === null) return onlyNull
      if (typeof value === "number")
        return ofType(Number.isSafeInteger(value) ? "integer" : "number", { minimum: value, maximum: value })
      return ofType(typeof value, {})
    }),
  )

/** A value that is one of several: of one kind when all but null agree. */
function alternatives(values: readonly Value[]): Value {
  const acceptsNull = values.some((value) => value.acceptsNull)
  const told = values.filter((value) => value.kind !== "null")
  const first = told[0]
  if (first === undefined) return onlyNull
  const merged = told.reduce((a, b) => ({
    ...a,
    kind: commonKind(a.kind, b.kind),
    integerWidth: a.integerWidth === 32 ? b.integerWidth : a.integerWidth,
  }))
  const noted = told.every((value) => JSON.stringify(value.note) === JSON.stringify(first.note))
  return { ...merged, kind: noted ? merged.kind : "opaque", note: noted ? first.note : {}, acceptsNull }
}

function commonKind(a: ValueKind, b: ValueKind): ValueKind {
  if (a === b) return a
  const numeric = (kind: ValueKind): boolean => kind === "number" || kind === "integer"
  if (numeric(a) && numeric(b)) return "number"
  return a !== "decimal-text" && b !== "decimal-text" && a.endsWith("text") && b.endsWith("text") ? "text" : "opaque"
}

/** A record that is of every shape. */
function both(shapes: readonly RecordShape[]): RecordShape {
  const properties = new Map<string, PropertyShape>()
  for (const shape of shapes) {
    for (const [property, own] of shape.properties) {
      const other = properties.get(property)
      const told =
        other === undefined || other.kind === "opaque" || (other.kind === "json" && other.acceptsNull) ? own : other
      properties.set(property, {
        ...told,
        required: own.required || other?.required === true,
        acceptsNull: own.acceptsNull && other?.acceptsNull !== false,
      })
    }
  }
  return { properties, open: shapes.some((shape) => shape.open) }
}

/** A record that is of one of the shapes. */
function either(shapes: readonly RecordShape[]): RecordShape {
  const properties = new Map<string, PropertyShape>()
  for (const property of new Set(shapes.flatMap((shape) => [...shape.properties.keys()]))) {
    const own = shapes.map((shape) => shape.properties.get(property))
    const told = own.filter((value) => value !== undefined)
    properties.set(property, {
      ...alternatives(told),
      required: told.length === own.length && told.every((value) => value.required),
    })
  }
  return { properties, open: shapes.some((shape) => shape.open) }
}
