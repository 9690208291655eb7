import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import type { RecordSchema } from "../../src/core/contracts.ts"
import type { RecordObject } from "../../src/core/records.ts"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { decimal, timestamp } from "../../src/schema/exact.ts"
import type { StandardSchema } from "../../src/schema/standard.ts"
import { judged, valueOf } from "./judged.ts"

const product = toRecordSchema(
  z.object({
    sku: z.string().min(1),
    quantity: z.int(),
    weight: z.number().min(0).optional(),
    stock: z.number().min(0).nullable(),
    price: decimal({ min: 0 }),
    active: z.boolean().optional(),
    big: z.bigint().optional(),
    at: z.date().optional(),
    tags: z.array(z.string()).optional(),
  }),
)

const good = { sku: "A1", quantity: "3", stock: "1.5", price: "2.55" }
const outcome = (change: RecordObject): unknown => {
  const validation = judged(product, { ...good, ...change }, true)
  const [property = ""] = Object.keys(change)
  return "value" in validation
    ? validation.value[property]
    : validation.faults.map((fault) => fault.path).join(" ") + " refused"
}

describe("from text to the types of the schema", () => {
  it.each([
    [{ quantity: "12" }, 12],
    [{ quantity: "12.0" }, 12],
    [{ quantity: "+7" }, 7],
    [{ quantity: "1e3" }, 1000],
    [{ quantity: "1.5" }, "quantity refused"],
    [{ quantity: "12abc" }, "quantity refused"],
    [{ quantity: " 12" }, "quantity refused"],
    [{ quantity: "0x10" }, "quantity refused"],
    [{ quantity: "1e400" }, "quantity refused"],
    [{ quantity: "NaN" }, "quantity refused"],
    [{ quantity: "Infinity" }, "quantity refused"],
    [{ quantity: "9007199254740991" }, 9007199254740991],
    [{ quantity: "9007199254740993" }, "quantity refused"],
    [{ quantity: "1.00000000000000000001" }, "quantity refused"],
    [{ quantity: "" }, "quantity refused"],
    [{ quantity: null }, "quantity refused"],
    [{ quantity: "  " }, "quantity refused"],
    [{ weight: "" }, undefined],
    [{ weight: null }, undefined],
    [{ weight: "-1" }, "weight refused"],
    [{ weight: ".5" }, 0.5],
    [{ weight: "1e400" }, "weight refused"],
    [{ weight: "1e-400" }, "weight refused"],
    [{ weight: "0e-400" }, 0],
    [{ weight: "1,5" }, "weight refused"],
    [{ stock: "" }, null],
    [{ stock: null }, null],
    [{ price: "0.001" }, "0.001"],
    [{ price: "17850.0" }, "17850.0"],
    [{ price: "" }, "price refused"],
    [{ price: null }, "price refused"],
    [{ price: "-0.01" }, "price refused"],
    [{ active: "TRUE" }, true],
    [{ active: "false" }, false],
    [{ active: "0" }, "active refused"],
    [{ active: "yes" }, "active refused"],
    [{ active: "" }, undefined],
    [{ big: "12345678901234567890" }, 12345678901234567890n],
    [{ big: "-5.0" }, -5n],
    [{ big: "5.5" }, "big refused"],
    [{ big: "" }, undefined],
    [{ at: "2010-12-01T08:26:00Z" }, new Date("2010-12-01T08:26:00Z")],
    [{ at: "2010-12-01 08:26+01" }, new Date("2010-12-01T07:26:00Z")],
    [{ at: "2010-12-01 08:26:00" }, "at refused"],
    [{ at: "2010-02-30T08:26:00Z" }, "at refused"],
    [{ at: "" }, undefined],
    [{ tags: '["a","b"]' }, ["a", "b"]],
    [{ tags: "[a" }, "tags refused"],
    [{ tags: "7" }, "tags refused"],
    [{ tags: "" }, undefined],
    [{ sku: null }, "sku refused"],
    [{ sku: "" }, "sku refused"],
    [{ sku: "007" }, "007"],
  ])("%o", (change, expected) => {
    expect(outcome(change)).toEqual(expected)
  })
})

describe("from typed formats", () => {
  const typed = (record: RecordObject): RecordObject => {
    product.fit(record, false)
    return record
  }

  it("nothing is converted but what JSON cannot carry", () => {
    expect(typed({ quantity: "12", weight: "1", active: "true", stock: "", sku: 5 })).toEqual({
      quantity: "12",
      weight: "1",
      active: "true",
      stock: "",
      sku: 5,
    })
    expect(typed({ big: "12", at: "2010-12-01T00:00:00Z" })).toEqual({ big: 12n, at: new Date("2010-12-01T00:00:00Z") })
    expect(typed({ big: 12 })).toEqual({ big: 12n })
  })

  it("null stays null", () => {
    const record = { weight: null, stock: null, sku: null, price: null, big: null, at: null }
    expect(typed({ ...record })).toEqual(record)
  })

  it("numbers of exact properties become the digits that were written", () => {
    expect(typed({ price: 0.1 })).toEqual({ price: "0.1" })
    expect(typed({ price: 1e-7 })).toEqual({ price: "0.0000001" })
    expect(typed({ price: 1e21 })).toEqual({ price: "1000000000000000000000" })
    expect(typed({ price: Infinity })).toEqual({ price: Infinity })
  })
})

it("a number for a numeric column is converted only while no digit is lost", () => {
  const schema = toRecordSchema(z.object({ x: z.number() }), { x: { type: "numeric" } })
  expect(valueOf(schema, { x: "0.1000000000000000" }, true)).toEqual({ x: 0.1 })
  expect(judged(schema, { x: "0.10000000000000000001" }, true)).toHaveProperty("faults")
})

/** Schemas of each adapter in which every property takes a number, or something near one. */
const byHand: StandardSchema = { "~standard": { version: 1, vendor: "by-hand", validate: (value) => ({ value }) } }
const numbers: readonly [string, RecordSchema][] = [
  [
    "zod",
    toRecordSchema(
      z.object({
        a: z.number().optional(),
        b: z.int().nullish(),
        c: decimal().optional(),
        d: z.bigint().optional(),
        e: z.number().nullable(),
        f: z.boolean().optional(),
        g: z.date().optional(),
        h: timestamp({ zone: "UTC" }).optional(),
      }),
    ),
  ],
  [
    "JSON Schema",
    toRecordSchema(
      {
        type: "object",
        properties: {
          a: { type: "number" },
          b: { type: ["integer", "null"] },
          c: { type: "number" },
          d: { type: "integer" },
          e: { anyOf: [{ type: "number" }, { type: "null" }] },
          f: { type: "boolean" },
          g: {},
          h: { type: "string", "x-spillway": { type: "numeric" } },
        },
      },
      { c: { type: "numeric" } },
    ),
  ],
  [
    "a schema that takes anything",
    toRecordSchema(byHand, {
      a: { type: "double precision" },
      b: { type: "integer" },
      c: { type: "numeric" },
      d: { type: "bigint" },
      e: { type: "real" },
      f: { type: "boolean" },
      g: { type: "jsonb" },
      h: { type: "text" },
    }),
  ],
]

describe.each(numbers)("blank and null in %s", (_name, schema) => {
  it("never become 0, false or 1970", () => {
    const blank = fc.oneof(fc.constantFrom(null, undefined, ""), fc.stringMatching(/^[ \t\u00a0]{0,4}$/))
    const record = fc.record(
      { a: blank, b: blank, c: blank, d: blank, e: blank, f: blank, g: blank, h: blank },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(record, fc.boolean(), (blanks, untyped) => {
        const fitted: RecordObject = { ...blanks }
        schema.fit(fitted, untyped)
        const validation = schema.validate(fitted)
        if (validation instanceof Promise) throw new Error("expected an answer, not a promise")
        const values = [...Object.values(fitted), ...("value" in validation ? Object.values(validation.value) : [])]
        for (const value of values)
          expect(
            value === null || value === undefined || (typeof value === "string" && value.trim() === ""),
            String(value),
          ).toBe(true)
      }),
    )
  })

  it("are absence, or null where the schema takes it, in text formats", () => {
    const record: RecordObject = { a: null, b: null, c: "", d: "", f: "" }
    schema.fit(record, true)
    expect(record.a).toBeUndefined()
    expect([record.c, record.d, record.f]).toEqual([undefined, undefined, undefined])
    expect(record.b ?? null).toBeNull()
  })
})
