import { SpillwayError } from "../core/errors.ts"
import type { SpillwayNote, ValueKind } from "./shape.ts"

/** The part of a zod schema (version 4) that is read here; zod itself is never imported. */
interface ZodLike {
  readonly _zod: {
    readonly def: {
      readonly type: string
      readonly format?: string
      readonly coerce?: boolean
      readonly values?: readonly unknown[]
    }
  }
}

interface Context {
  readonly zodSchema: ZodLike
  readonly path: readonly (string | number)[]
}

/** What zod writes where JSON Schema has no word: a note of ours, or `any` where it only leaves out a detail. */
function unrepresentable({ zodSchema }: Context): { "x-spillway": SpillwayNote } | "any" {
  const { type, format, values } = zodSchema._zod.def
  if (type === "default" || type === "number" || type === "catch") return "any"
  if (type === "literal" && values?.some((value) => typeof value === "bigint") !== true) return "any"
  const kind: ValueKind = type === "date" ? "date" : type === "bigint" || type === "literal" ? "bigint" : "opaque"
  return { "x-spillway": format === "int64" ? { kind, type: "bigint" } : { kind } }
}

/**
 * Options for zod's JSON Schema: one property that JSON Schema cannot express does not spoil the others. `coerced` collects the
 * places of `z.coerce`.
 */
export function zodOptions(coerced: Map<string, string>): Record<string, unknown> {
  return {
    unrepresentable,
    override: ({ zodSchema, path }: Context): void => {
      const { coerce, type } = zodSchema._zod.def
      if (coerce === true) coerced.set(path.filter((part) => part !== "properties" && part !== "items").join("."), type)
    },
  }
}

/** `z.coerce` makes 0 of a blank, 1970 of null and "undefined" of nothing: data that nobody wrote. Throws `CONFIG`. */
export function refuseCoercion(coerced: ReadonlyMap<string, string>): void {
  if (coerced.size === 0) return
  const places = [...coerced].sort().map(([path, type]) => `${path === "" ? "the record" : path} (z.coerce.${type}())`)
  throw new SpillwayError("CONFIG", `z.coerce invents values out of blanks and nulls: ${places.join(", ")}`, {
    hint: "write z.number(), z.boolean(), z.date() …: whole numerals, true/false and dates are converted before validation; anything else belongs in prepare",
  })
}
