import { type } from "arktype"
import * as v from "valibot"
import { z } from "zod"

/** The same product in three libraries. */
export const ZodProduct = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  price: z.number().min(0),
  quantity: z.int().min(0),
  active: z.boolean().optional(),
})

export const ValibotProduct = v.object({
  id: v.pipe(v.string(), v.minLength(1)),
  name: v.pipe(v.string(), v.minLength(1)),
  price: v.pipe(v.number(), v.minValue(0)),
  quantity: v.pipe(v.number(), v.integer(), v.minValue(0)),
  active: v.optional(v.boolean()),
})

export const ArkProduct = type({
  id: "string > 0",
  name: "string > 0",
  price: "number >= 0",
  quantity: "number.integer >= 0",
  "active?": "boolean",
  "+": "delete",
})
