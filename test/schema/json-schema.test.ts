import { describe, expect, it } from "vitest"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { faultsOf, judged, valueOf } from "./judged.ts"

const product = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  properties: {
    id: { type: "integer", minimum: 1 },
    name: { type: "string", minLength: 1 },
    price: { type: "number", minimum: 0 },
    added: { type: "string", format: "date" },
    seen: { type: "string", format: "date-time" },
    at: { type: "string", format: "time" },
    key: { type: "string", format: "uuid" },
    note: { type: ["string", "null"] },
    old: { anyOf: [{ type: "boolean" }, { type: "null" }] },
    colour: { enum: ["red", "blue"] },
    size: { enum: [1, 2.5] },
    fixed: { const: 7 },
    parts: { type: "array", items: { $ref: "#/$defs/part" } },
    first: { $ref: "#/$defs/part" },
    amount: { type: "string", "x-spillway": { type: "numeric(10,2)" } },
    anything: {},
  },
  required: ["id", "name", "price"],
  $defs: { part: { type: "object", properties: { n: { type: "integer" } } } },
} as const

describe("JSON Schema", () => {
  it("tells columns, inputs, required and exact properties", () => {
    const schema = toRecordSchema(product)
    expect(
      Object.fromEntries(
        (schema.columns ?? []).map(({ property, type, nullable }) => [property, nullable ? `${type}?` : type]),
      ),
    ).toEqual({
      id: "bigint",
      name: "text",
      price: "double precision",
      added: "date?",
      seen: "timestamptz?",
      at: "time?",
      key: "uuid?",
      note: "text?",
      old: "boolean?",
      colour: "text?",
      size: "double precision?",
      fixed: "integer?",
      parts: "jsonb?",
      first: "jsonb?",
      amount: "numeric(10,2)?",
      anything: "jsonb?",
    })
    expect(schema.inputs?.size).toBe(16)
    expect([...schema.required]).toEqual(["id", "name", "price"])
    expect([...schema.exact]).toEqual(["amount"])
    expect(toRecordSchema({ ...product, additionalProperties: true }).inputs).toBeUndefined()
  })

  it("a table of records and what becomes of them", () => {
    const schema = toRecordSchema(product)
    const base = { id: 1, name: "a", price: 1 }
    const rules = (extra: object): string[] =>
      faultsOf(schema, { ...base, ...extra }).map((fault) => `${fault.path} ${fault.rule}`)
    expect(rules({})).toEqual([])
    expect(rules({ id: 1.5 })).toEqual(["id type"])
    expect(rules({ id: 0, name: "", price: -1 })).toEqual(["id minimum", "name minLength", "price minimum"])
    expect(rules({ added: "2010-02-30" })).toEqual(["added format"])
    expect(rules({ note: null, old: null })).toEqual([])
    expect(rules({ old: "yes" })).toEqual(["old anyOf"])
    expect(rules({ colour: "green" })).toEqual(["colour enum"])
    expect(rules({ parts: [{ n: 1 }, { n: "x" }] })).toEqual(["parts[1].n type"])
    expect(faultsOf(schema, { name: 5, price: "1" })).toMatchObject([
      { rule: "required", path: "id", message: "id: expected a value, got nothing" },
      { rule: "type", path: "name", expected: "text", actualType: "number", message: "name: expected text, got 5" },
      { rule: "type", path: "price", expected: "a number", message: 'price: expected a number, got "1"' },
    ])
  })

  it("nothing is coerced, and the record is the value", () => {
    const record = { id: 1, name: "a", price: 1, surplus: "kept" }
    const validation = toRecordSchema(product).validate(record)
    expect(validation).toEqual({ value: record })
    expect("value" in validation && validation.value).toBe(record)
  })

  it("an integer whose digits a double has lost is refused, not stored", () => {
    const decoded = JSON.parse('{"id": 9007199254740993, "name": "a", "price": 1}') as Record<string, unknown>
    expect(faultsOf(toRecordSchema(product), decoded)).toMatchObject([{ path: "id", rule: "type" }])
    expect(faultsOf(toRecordSchema(product), { id: "9007199254740993", name: "a", price: "1" }, true)).toMatchObject([
      { path: "id", rule: "type" },
    ])
  })

  it("numbers of numeric columns keep every digit, and are judged as numbers", () => {
    const schema = toRecordSchema(
      {
        type: "object",
        properties: { price: { type: "number", minimum: 0, multipleOf: 0.01 }, units: { type: "integer" } },
      },
      { price: { type: "numeric" }, units: { type: "numeric" } },
    )
    expect([...schema.exact]).toEqual(["price", "units"])
    expect(valueOf(schema, { price: "1.10", units: "12345678901234567890" }, true)).toEqual({
      price: "1.10",
      units: "12345678901234567890",
    })
    expect(valueOf(schema, { price: 1e-2, units: 3 })).toEqual({ price: "0.01", units: "3" })
    for (const bad of [
      { price: "-1" },
      { price: "abc" },
      { price: "1.005" },
      { price: "" },
      { units: "1.00000000000000000001" },
    ])
      expect(judged(schema, bad), JSON.stringify(bad)).toHaveProperty("faults")
  })

  it("speaks draft-07 where its $schema says so", () => {
    const schema = toRecordSchema({
      $schema: "http://json-schema.org/draft-07/schema#",
      type: "object",
      definitions: { code: { type: "string", maxLength: 2 } },
      properties: {
        code: { $ref: "#/definitions/code" },
        pair: { type: "array", items: [{ type: "string" }, { type: "number" }] },
      },
    })
    expect(schema.columns?.map(({ type }) => type)).toEqual(["text", "jsonb"])
    expect(faultsOf(schema, { code: "abc", pair: [1, 1] })).toMatchObject([
      { path: "code", rule: "maxLength" },
      { path: "pair[0]", rule: "type" },
    ])
  })

  it.each([
    [{ type: "object", properties: { a: { type: "strnig" } } }, /type must be|must be equal to one of/],
    [{ type: "object", requierd: ["a"] }, /requierd/],
    [{ type: "object", properties: { a: { type: "string", format: "datum" } } }, /datum/],
    [{ type: "object", properties: { a: { $ref: "#/$defs/missing" } } }, /missing/],
  ])("an invalid one is refused with the reason", (schema, reason) => {
    expect(() => toRecordSchema(schema)).toThrowError(
      expect.objectContaining({
        code: "CONFIG",
        message: expect.stringMatching(reason) as string,
        hint: expect.any(String) as string,
      }),
    )
  })

  it("a recursive one ends", () => {
    const tree = { type: "object", properties: { id: { type: "string" }, next: { $ref: "#" } } }
    expect(toRecordSchema(tree).columns?.map(({ type }) => type)).toEqual(["text", "jsonb"])
    const joined = {
      allOf: [{ $ref: "#/$defs/a" }],
      $defs: { a: { type: "object", properties: { x: { type: "string" } }, allOf: [{ $ref: "#/$defs/a" }] } },
    }
    expect(() => toRecordSchema(joined)).not.toThrow()
  })

  it("takes properties with the names of Object.prototype as what they are", () => {
    const schema = toRecordSchema({ type: "object", properties: { constructor: { type: "string" } } })
    expect(valueOf(schema, Object.assign(Object.create(null) as object, { constructor: "Acme" }))).toEqual({
      constructor: "Acme",
    })
    expect(schema.columns).toEqual([
      { property: "constructor", name: "constructor", type: "text", nullable: true, zone: undefined },
    ])
    expect(faultsOf(schema, {})).toEqual([])
  })
})
