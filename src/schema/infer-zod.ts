import type { InferredField, InferredType } from "./infer-type.ts"
import { quoted } from "./infer-words.ts"

export interface InferredSchema {
  /** What it is exported as. */
  readonly name: string
  /** What it was inferred from, in words; may have several lines. */
  readonly origin: readonly string[]
  readonly fields: readonly (InferredField & { readonly words: string })[]
}

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/

/** The schema as a module of TypeScript with zod. */
export function printZod({ name, origin, fields }: InferredSchema): string {
  const lines = fields.flatMap((field) => [
    ...(field.words === "" ? [] : [`  // ${field.words}`]),
    `  ${keyOf(field.name)}: ${wrapped(field)},`,
  ])
  const body = lines.join("\n")
  const exact = ["decimal", "timestamp"].filter((maker) => new RegExp(`: ${maker}\\(`).test(body))
  return [
    ...(exact.length === 0 ? [] : [`import { ${exact.join(", ")} } from "spillway/schema"`]),
    'import { z } from "zod"',
    "",
    `/** ${origin.join(" ").replaceAll("*/", "*\\/")} */`,
    `export const ${name} = z.object({`,
    ...lines,
    "})",
    "",
  ].join("\n")
}

/** In an object literal `__proto__` would be no key. */
const keyOf = (name: string): string =>
  name === "__proto__" ? '["__proto__"]' : IDENTIFIER.test(name) ? name : quoted(name)

function wrapped({ type, optional, nullable }: Omit<InferredField, "evidence">): string {
  const schema = zodOf(type)
  const orNull = nullable && type.is !== "anything" ? ".nullable()" : ""
  return `${schema}${orNull}${optional ? ".optional()" : ""}`
}

function zodOf(type: InferredType): string {
  switch (type.is) {
    case "integer":
      return "z.int()"
    case "long-integer":
      return "decimal({ scale: 0 })"
    case "decimal":
    case "decimal-text":
      return "decimal()"
    case "number":
      return "z.number()"
    case "boolean":
      return "z.boolean()"
    case "date":
      return "z.iso.date()"
    case "time":
      return `timestamp({ zone: ${type.zoneInText ? '"in text"' : '"UTC"'} })`
    case "text":
      return "z.string()"
    case "enum":
      return `z.enum([${type.values.map(quoted).join(", ")}])`
    case "object":
      return type.fields.length === 0
        ? "z.looseObject({})"
        : `z.looseObject({ ${type.fields.map((field) => `${keyOf(field.name)}: ${wrapped(field)}`).join(", ")} })`
    case "map":
      return "z.record(z.string(), z.unknown())"
    case "list":
      return `z.array(${zodOf(type.items)}${type.nullableItems && type.items.is !== "anything" ? ".nullable()" : ""})`
    case "either":
      return `z.union([${type.types.map((one) => `z.${one === "text" ? "string" : one}()`).join(", ")}])`
    case "anything":
      return "z.unknown()"
  }
}
