import type { ByteField, ByteRule } from "./byte-checks.ts"
import { within } from "./number-range.ts"

type Node = Readonly<Record<string, unknown>>

const ANNOTATIONS = ["$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated"]
const ROOT_KEYS: ReadonlySet<string> = new Set([
  ...ANNOTATIONS,
  "type",
  "properties",
  "required",
  "additionalProperties",
])
const TEXT_KEYS = ["minLength", "maxLength", "pattern", "format"]
const NUMBER_KEYS = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
const UUID = /^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$/

/**
 * What a JSON Schema says of each property's text, where each is judged by itself and by keywords that are known here; undefined
 * where one of them, or the whole, says more.
 */
export function jsonByteFields(schema: Node): ReadonlyMap<string, ByteField> | undefined {
  const { type, properties, required = [], additionalProperties = true } = schema
  if (!hasOnly(schema, ROOT_KEYS) || type !== "object" || !isNode(properties)) return undefined
  if (typeof additionalProperties !== "boolean" || !Array.isArray(required)) return undefined
  const fields = new Map<string, ByteField>()
  for (const [name, node] of Object.entries(properties)) {
    const field = name === "__proto__" || !isNode(node) ? undefined : fieldOf(node, required.includes(name))
    if (field === undefined) return undefined
    fields.set(name, field)
  }
  return required.every((name) => typeof name === "string" && fields.has(name)) ? fields : undefined
}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

const hasOnly = (node: Node, keys: ReadonlySet<string>): boolean => Object.keys(node).every((key) => keys.has(key))

function fieldOf(node: Node, required: boolean): ByteField | undefined {
  const types: readonly unknown[] = Array.isArray(node.type) ? node.type : [node.type]
  const [type, ...others] = types.filter((name) => name !== "null")
  if (others.length > 0) return undefined
  const rule = ruleOf(node, type)
  return rule && { rule, optional: !required || types.includes("null") }
}

function ruleOf(node: Node, type: unknown): ByteRule | undefined {
  const only = (...keys: readonly string[]): boolean => hasOnly(node, new Set([...ANNOTATIONS, "type", ...keys]))
  switch (type) {
    case "string":
      if (node.enum !== undefined) return only("enum") ? member(node.enum) : undefined
      if (node.const !== undefined) return only("const") ? member([node.const]) : undefined
      return only(...TEXT_KEYS) ? text(node) : undefined
    case "integer":
    case "number": {
      const holds = only(...NUMBER_KEYS) ? bounds(node) : undefined
      return holds && { kind: type, holds }
    }
    case "boolean":
      return only() ? { kind: "boolean" } : undefined
    default:
      return undefined
  }
}

const member = (values: unknown): ByteRule | undefined =>
  Array.isArray(values) && values.every((value) => typeof value === "string") ? { kind: "member", values } : undefined

function text({ minLength = 0, maxLength = Infinity, pattern, format }: Node): ByteRule | undefined {
  if (typeof minLength !== "number" || typeof maxLength !== "number") return undefined
  const patterns: RegExp[] = []
  if (typeof pattern === "string") patterns.push(new RegExp(pattern, "u"))
  if (format === "uuid") patterns.push(UUID)
  else if (format !== undefined && format !== "date" && format !== "date-time") return undefined
  const form = format === "date" ? "date" : format === "date-time" ? "instant" : undefined
  return { kind: "text", least: minLength, most: maxLength, patterns, ...(form ? { form } : {}) }
}

function bounds(node: Node): ((value: number) => boolean) | undefined {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = node
  const limits = [minimum, maximum, exclusiveMinimum, exclusiveMaximum]
  if (!limits.every((limit) => limit === undefined || typeof limit === "number")) return undefined
  const [least, most, above, below] = limits
  return within({ least, most, above, below })
}
