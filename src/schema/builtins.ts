import { z } from "zod"
import { SpillwayError } from "../core/errors.ts"
import { timestamp } from "./exact.ts"
import type { StandardSchema } from "./standard.ts"

const text = z.string().min(1)

/** A number that says so in full where something else stands in its place. */
const atLeastZero = <T extends z.ZodNumber>(number: T, expected: string): T =>
  number.min(0).meta({ "x-spillway": { expected } })

/** Any record at all: only what cannot be decoded is refused. */
export const AnyRecord = z.looseObject({})

/** A product in stock: `id` and `name` not empty, `price` ≥ 0, `quantity` a whole number ≥ 0, `ts` an ISO date and time or absent. */
export const ProductRecord = z.object({
  id: text,
  name: text,
  price: atLeastZero(z.number(), "a number ≥ 0"),
  quantity: atLeastZero(z.int(), "an integer ≥ 0"),
  ts: timestamp({ zone: "UTC" }).optional(),
})

/** An event of a user: `user_id` and `event` not empty, `timestamp` an ISO date and time, `properties` an object, the last two optional. */
export const EventRecord = z.object({
  user_id: text,
  event: text,
  timestamp: timestamp({ zone: "UTC" }),
  properties: z.record(z.string(), z.unknown()).optional(),
  session_id: z.string().optional(),
})

const BUILTINS: Readonly<Record<string, StandardSchema>> = { AnyRecord, EventRecord, ProductRecord }

export const builtinNames: readonly string[] = Object.keys(BUILTINS)

/** A built-in schema by its name. Throws `CONFIG` with the names there are. */
export function builtinSchema(name: string): StandardSchema {
  const schema = Object.hasOwn(BUILTINS, name) ? BUILTINS[name] : undefined
  if (schema !== undefined) return schema
  throw new SpillwayError("CONFIG", `there is no built-in schema ${JSON.stringify(name)}`, {
    hint: `it is one of ${builtinNames.map((known) => `builtins.${known}`).join(", ")}`,
  })
}
