import type { ValueEvidence, ValueKind } from "./infer-evidence.ts"

/** A type that every value of the evidence is of. */
export type InferredType =
  | { readonly is: "integer" | "decimal" | "number" | "boolean" | "date" | "text" | "anything" | "map" }
  /** More digits than a double holds. */
  | { readonly is: "long-integer" }
  /** Texts that are decimals in a format that has numbers. */
  | { readonly is: "decimal-text" }
  /** Without a zone in the text, UTC is assumed. */
  | { readonly is: "time"; readonly zoneInText: boolean; readonly rfc3339: boolean }
  | { readonly is: "enum"; readonly values: readonly string[] }
  | { readonly is: "object"; readonly fields: readonly InferredField[] }
  | { readonly is: "list"; readonly items: InferredType; readonly nullableItems: boolean }
  | { readonly is: "either"; readonly types: readonly ("text" | "number" | "boolean")[] }

export interface InferredField {
  readonly name: string
  readonly type: InferredType
  readonly optional: boolean
  readonly nullable: boolean
  readonly evidence: ValueEvidence
}

/** A few values stand for all only when each was seen again and again. */
const MOST_VALUES = 12
const LEAST_COUNT = 20
const LEAST_REPEATS = 5

/** Whether values of the property at a path may not be shown. */
export type Hidden = (path: readonly string[]) => boolean

function typeOf(evidence: ValueEvidence, path: readonly string[], hidden: Hidden): InferredType {
  const { untyped, depth } = evidence
  const only = (...kinds: readonly ValueKind[]): boolean =>
    [...evidence.kinds.keys()].every((kind) => kinds.includes(kind))
  if (evidence.count === 0) return { is: "text" }
  if (only("integer")) {
    if (evidence.numbers?.safe === true) return { is: "integer" }
    return depth === 0 ? { is: "long-integer" } : { is: "number" }
  }
  if (only("integer", "number", "decimal")) {
    // Within objects no digits are kept beyond those of a double.
    if (depth > 0) return { is: "number" }
    return evidence.numbers?.scale === 0 && !untyped ? { is: "long-integer" } : { is: "decimal" }
  }
  if (only("boolean")) return { is: "boolean" }
  if (only("digits")) return depth === 0 ? { is: "decimal-text" } : { is: "text" }
  if (only("date")) return { is: "date" }
  if (only("instant", "local-time"))
    return { is: "time", zoneInText: !evidence.kinds.has("local-time"), rfc3339: evidence.rfc3339 && only("instant") }
  if (only("object")) return ofObject(evidence, path, hidden)
  if (only("list")) return ofList(evidence, path, hidden)
  return ofMixture(evidence, hidden(path))
}

const TEXTS: readonly ValueKind[] = ["text", "date", "instant", "local-time", "digits"]

function ofMixture(evidence: ValueEvidence, hidden: boolean): InferredType {
  const types = new Set<"text" | "number" | "boolean">()
  for (const kind of evidence.kinds.keys()) {
    if (evidence.untyped || TEXTS.includes(kind)) types.add("text")
    else if (kind === "boolean") types.add("boolean")
    else if (kind === "integer" || kind === "number") types.add("number")
    else return { is: "anything" }
  }
  if (types.size > 1) return { is: "either", types: [...types].sort() }
  const values = hidden ? undefined : fewValues(evidence)
  return values === undefined ? { is: "text" } : { is: "enum", values }
}

function fewValues({ count, distinct }: ValueEvidence): string[] | undefined {
  // The one text that cannot be a key of an enumeration.
  if (distinct === undefined || distinct.has("__proto__") || distinct.size > MOST_VALUES || count < LEAST_COUNT)
    return undefined
  const repeated = count >= distinct.size * LEAST_REPEATS && [...distinct.values()].every((times) => times > 1)
  return repeated ? [...distinct.keys()].sort() : undefined
}

function ofObject({ count, fields }: ValueEvidence, path: readonly string[], hidden: Hidden): InferredType {
  if (fields === undefined) return { is: "map" }
  return { is: "object", fields: [...fields].map(([name, field]) => fieldOf([...path, name], field, count, hidden)) }
}

/** The field at a path, which `whole` records could have had. */
export function fieldOf(
  path: readonly string[],
  evidence: ValueEvidence,
  whole: number,
  hidden: Hidden,
): InferredField {
  const absent = evidence.count + evidence.nulls < whole
  return {
    name: path.at(-1) ?? "",
    type: typeOf(evidence, path, hidden),
    optional: absent || (evidence.untyped && evidence.nulls > 0),
    nullable: !evidence.untyped && evidence.nulls > 0,
    evidence,
  }
}

function ofList({ items }: ValueEvidence, path: readonly string[], hidden: Hidden): InferredType {
  if (items === undefined || items.count === 0) return { is: "list", items: { is: "anything" }, nullableItems: false }
  return { is: "list", items: typeOf(items, path, hidden), nullableItems: items.nulls > 0 }
}
