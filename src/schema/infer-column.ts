import { kindOfText } from "./infer-kind.ts"

type Evidence = "numeric" | "boolean" | "date" | "timestamptz" | "jsonb" | "text"

/**
 * The PostgreSQL type of a column that no schema describes, from its values: `text` where they do not agree or leave a doubt.
 * Numbers are `numeric`, never floating point, and whole numbers too: what comes next may have a fraction. A date and time
 * without a zone stays text, since nobody has said which zone it is in.
 */
export class ColumnEvidence {
  #type: Evidence | undefined

  /** Undefined as long as no value was seen. */
  get type(): string | undefined {
    return this.#type
  }

  /** Takes in a value; nothing and, where `untyped`, a blank say nothing. `untyped`: texts may stand for anything. */
  add(value: unknown, untyped: boolean): void {
    if (value === null || value === undefined || (untyped && value === "")) return
    const type = evidenceOf(value, untyped)
    if (this.#type === undefined || this.#type === type) this.#type = type
    // A jsonb column holds scalars as well; a text column holds no objects.
    else this.#type = this.#type === "jsonb" || type === "jsonb" ? "jsonb" : "text"
  }
}

function evidenceOf(value: unknown, untyped: boolean): Evidence {
  switch (typeof value) {
    case "number":
    case "bigint":
      return "numeric"
    case "boolean":
      return "boolean"
    case "string":
      return ofText(value, untyped)
    default:
      return value instanceof Date ? "timestamptz" : "jsonb"
  }
}

/** In formats that have numbers and truth values of their own, a text that looks like one is meant to be text. */
function ofText(text: string, untyped: boolean): Evidence {
  switch (kindOfText(text)) {
    case "integer":
    case "decimal":
      return untyped ? "numeric" : "text"
    case "boolean":
      return untyped ? "boolean" : "text"
    case "date":
      return "date"
    case "instant":
      return "timestamptz"
    case "local-time":
    case "text":
      return "text"
  }
}
