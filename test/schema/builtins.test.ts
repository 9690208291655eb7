import { expect, it } from "vitest"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { AnyRecord, builtinNames, builtinSchema, EventRecord, ProductRecord } from "../../src/schema/builtins.ts"

it("are found by name", () => {
  expect(builtinNames).toEqual(["AnyRecord", "EventRecord", "ProductRecord"])
  expect(builtinSchema("ProductRecord")).toBe(ProductRecord)
  for (const name of ["Nothing", "toString", "__proto__"])
    expect(() => builtinSchema(name)).toThrow(/there is no built-in schema/)
})

it("have the columns that a table needs", () => {
  const columns = (schema: Parameters<typeof toRecordSchema>[0]): string[] | undefined =>
    toRecordSchema(schema).columns?.map(({ name, type, nullable }) => `${name} ${type}${nullable ? "" : " not null"}`)
  expect(columns(ProductRecord)).toEqual([
    "id text not null",
    "name text not null",
    "price double precision not null",
    "quantity bigint not null",
    "ts timestamptz",
  ])
  expect(columns(EventRecord)).toEqual([
    "user_id text not null",
    "event text not null",
    "timestamp timestamptz not null",
    "properties jsonb",
    "session_id text",
  ])
})

it("AnyRecord takes any record and leaves it as it is", () => {
  const record = { a: 1, b: { c: null } }
  expect(toRecordSchema(AnyRecord).validate(record)).toEqual({ value: record })
  expect(toRecordSchema(AnyRecord).inputs).toBeUndefined()
})

it("ProductRecord is judged on bytes", () => {
  expect([...(toRecordSchema(ProductRecord).byteChecks?.keys() ?? [])]).toEqual([
    "id",
    "name",
    "price",
    "quantity",
    "ts",
  ])
})
