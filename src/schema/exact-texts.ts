import type { ByteRule } from "./byte-checks.ts"

/** How the texts of a `decimal()` or `timestamp()` schema are judged. */
export interface TextRule {
  readonly test: (text: string) => boolean
  readonly bytes: ByteRule
}

const rules = new WeakMap<object, TextRule>()

/** Notes the rule of a schema, for those who can judge without its library. */
export function noteTextRule<T extends object>(schema: T, rule: TextRule): T {
  rules.set(schema, rule)
  return schema
}

/** The rule of a schema that `decimal()` or `timestamp()` made, as long as nothing was added to it; undefined for all others. */
export const textRuleOf = (schema: unknown): TextRule | undefined =>
  typeof schema === "object" && schema !== null ? rules.get(schema) : undefined
