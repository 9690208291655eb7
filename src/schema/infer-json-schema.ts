import type { InferredField, InferredType } from "./infer-type.ts"
import type { InferredSchema } from "./infer-zod.ts"
import type { JsonSchema } from "./json-schema.ts"

/** The schema as a JSON Schema. What it cannot say of exact numbers and times is noted under `x-spillway`. */
export function toJsonSchema({ name, origin, fields }: InferredSchema): JsonSchema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: name,
    description: origin.join(" "),
    type: "object",
    properties: asRecord(
      fields.map((field) => [
        field.name,
        { ...propertyOf(field), ...(field.words === "" ? {} : { description: field.words }) },
      ]),
    ),
    required: requiredOf(fields),
  }
}

const requiredOf = (fields: readonly InferredField[]): string[] =>
  fields.filter(({ optional }) => !optional).map(({ name }) => name)

/** With own keys only: `__proto__` may be one of them. */
const asRecord = (entries: readonly (readonly [string, JsonSchema])[]): JsonSchema => Object.fromEntries(entries)

function propertyOf({ type, nullable }: Pick<InferredField, "type" | "nullable">): JsonSchema {
  const schema = jsonOf(type)
  if (!nullable || type.is === "anything") return schema
  if (Array.isArray(schema["enum"])) return { ...schema, enum: [...(schema["enum"] as unknown[]), null] }
  return { ...schema, type: [schema["type"], "null"].flat() }
}

function jsonOf(type: InferredType): JsonSchema {
  switch (type.is) {
    case "integer":
    case "number":
    case "boolean":
      return { type: type.is }
    case "long-integer":
      return { type: "integer", "x-spillway": { type: "numeric" } }
    case "decimal":
      return { type: "number", "x-spillway": { type: "numeric" } }
    case "decimal-text":
      return { type: "string", "x-spillway": { kind: "decimal-text", type: "numeric" } }
    case "date":
      return { type: "string", format: "date" }
    case "time":
      return {
        type: "string",
        ...(type.rfc3339 ? { format: "date-time" } : {}),
        "x-spillway": { kind: "instant-text", type: "timestamptz", ...(type.zoneInText ? {} : { zone: "UTC" }) },
      }
    case "text":
      return { type: "string" }
    case "enum":
      return { enum: [...type.values] }
    case "object":
      return {
        type: "object",
        properties: asRecord(type.fields.map((field) => [field.name, propertyOf(field)])),
        required: requiredOf(type.fields),
      }
    case "map":
      return { type: "object" }
    case "list":
      return { type: "array", items: propertyOf({ type: type.items, nullable: type.nullableItems }) }
    case "either":
      return { type: type.types.map((one) => (one === "text" ? "string" : one)) }
    case "anything":
      return {}
  }
}
