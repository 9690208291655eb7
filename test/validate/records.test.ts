import { type } from "arktype"
import {
  Bool,
  Decimal,
  Field,
  Float64,
  Int64,
  List,
  makeVector,
  Struct,
  Table,
  tableFromArrays,
  TimestampMicrosecond,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow"
import { Readable } from "node:stream"
import * as v from "valibot"
import { describe, expect, expectTypeOf, it } from "vitest"
import { z } from "zod"
import { csv } from "../../src/formats/csv.ts"
import { json } from "../../src/formats/json.ts"
import { ProductRecord } from "../../src/schema/builtins.ts"
import { decimal, timestamp } from "../../src/schema/exact.ts"
import { validate, validateEach } from "../../src/validate/validate.ts"

const Item = z.object({ id: z.int(), name: z.string().optional(), tags: z.array(z.string()).default([]) })

const GOOD = { id: 1, name: "a", tags: ["x"] }
const BAD = { id: "one" }
const RESULT = { read: 2, good: [GOOD], bad: [{ index: 1, message: 'id: expected a number, got "one"' }] }

async function* later<T>(values: readonly T[]): AsyncGenerator<T> {
  for (const value of values) yield await Promise.resolve(value)
}

describe("validate", () => {
  it.each<[string, () => Parameters<typeof validate>[1]]>([
    ["an array", () => [GOOD, BAD]],
    ["a set", () => new Set([GOOD, BAD])],
    ["an iterator", () => [GOOD, BAD][Symbol.iterator]()],
    [
      "an iterator made by hand",
      () => {
        const values = [GOOD, BAD]
        return {
          next: () => (values.length > 0 ? { value: values.shift(), done: false } : { value: undefined, done: true }),
        }
      },
    ],
    ["an async iterator", () => later([GOOD, BAD])],
    ["a stream of objects", () => Readable.from([GOOD, BAD])],
  ])("takes %s", async (_name, input) => {
    expect(await validate(Item, input())).toMatchObject(RESULT)
    await expect(validate(Item, input(), { mode: "fail-fast" })).rejects.toMatchObject({
      name: "SpillwayError",
      code: "VALIDATION",
      message: 'id: expected a number, got "one"',
      where: "record 1",
      context: { index: 1 },
    })
  })

  it("takes one object, and leaves it as it is", async () => {
    const record = Object.freeze({ id: 7, extra: true })
    expect(await validate(Item, record)).toEqual({ read: 1, good: [{ id: 7, tags: [] }], bad: [] })
    expect(await validate(Item, {})).toMatchObject({ read: 1, bad: [{ index: 0, record: {} }] })
  })

  it("tells every fault of a record", async () => {
    const { bad } = await validate(ProductRecord, { id: "", price: -1, quantity: 1.5, ts: "yesterday" })
    expect(bad[0]?.message).toBe(
      'id: expected at least 1 character, got ""; name: expected text, got nothing; price: expected a number ≥ 0, got -1; ' +
        'quantity: expected an integer ≥ 0, got 1.5; ts: expected a date and time such as 2010-12-31 23:59:00, got "yesterday"',
    )
    expect(bad[0]?.faults.map(({ path }) => path)).toEqual(["id", "name", "price", "quantity", "ts"])
  })

  it("sets aside what is no object", async () => {
    const { bad } = await validate(Item, [null, 5, "x", [GOOD], GOOD])
    expect(bad.map(({ index, record, faults }) => [index, record, faults[0].rule])).toEqual([
      [0, undefined, "not_object"],
      [1, undefined, "not_object"],
      [2, undefined, "not_object"],
      [3, undefined, "not_object"],
    ])
  })

  it("is typed by the schema", async () => {
    const fromZod = await validate(Item, [])
    expectTypeOf(fromZod.good).toEqualTypeOf<{ id: number; name?: string | undefined; tags: string[] }[]>()
    const fromValibot = await validate(v.object({ id: v.number() }), [])
    expectTypeOf(fromValibot.good).toEqualTypeOf<{ id: number }[]>()
    const fromArk = await validate(type({ id: "number" }), [])
    expectTypeOf(fromArk.good).toEqualTypeOf<{ id: number }[]>()
    const fromJson = await validate({ type: "object", properties: { id: { type: "number" } } }, [])
    expectTypeOf(fromJson.good).toEqualTypeOf<Record<string, unknown>[]>()
  })

  it("stops reading at the first bad record when it is to fail fast", async () => {
    let given = 0
    let closed = false
    async function* endless(): AsyncGenerator<object> {
      try {
        for (;;) yield await Promise.resolve({ id: ++given < 3 ? given : "x" })
      } finally {
        closed = true
      }
    }
    await expect(validate(Item, endless(), { mode: "fail-fast" })).rejects.toMatchObject({ code: "VALIDATION" })
    expect([given, closed]).toEqual([3, true])
  })

  it("gives records one by one, of inputs without end", async () => {
    async function* endless(): AsyncGenerator<object> {
      for (let id = 0; ; id++) yield await Promise.resolve({ id: id % 2 === 0 ? id : "odd" })
    }
    const seen: unknown[] = []
    for await (const judged of validateEach(Item, endless())) {
      seen.push(judged.ok ? judged.value.id : judged.message)
      if (seen.length === 4) break
    }
    expect(seen).toEqual([0, 'id: expected a number, got "odd"', 2, 'id: expected a number, got "odd"'])
  })

  it("passes on what the input throws", async () => {
    const broken = Readable.from(
      (function* () {
        yield GOOD
        throw new Error("cable pulled")
      })(),
    )
    await expect(validate(Item, broken)).rejects.toThrow("cable pulled")
  })

  it("reads bytes in a format", async () => {
    const bytes = Readable.from([Buffer.from("id,name\n1,a\n"), Buffer.from("x,b\n2,\n")])
    const result = await validate(Item, bytes, { format: csv() })
    expect(result.good).toEqual([
      { id: 1, name: "a", tags: [] },
      { id: 2, tags: [] },
    ])
    expect(result.bad).toMatchObject([{ index: 1, place: { line: 3 }, record: { id: "x", name: "b" } }])
    expect((await validate(Item, ['[{"id":1},', '{"id":2}]'], { format: json() })).good).toHaveLength(2)
    await expect(validate(Item, Readable.from([Buffer.from("id\n")]))).rejects.toMatchObject({ code: "CONFIG" })
    await expect(validate(Item, [GOOD], { format: csv() })).rejects.toMatchObject({ code: "CONFIG" })
    await expect(validate(Item, Readable.from(["name\na\n"]), { format: csv() })).rejects.toMatchObject({
      code: "SCHEMA_DRIFT",
    })
  })

  it("converts text where it is said to be text", async () => {
    expect((await validate(Item, { id: "1", name: "" }, { untyped: true })).good).toEqual([{ id: 1, tags: [] }])
    expect((await validate(Item, { id: "1" })).bad).toHaveLength(1)
  })

  it.each<[string, unknown]>([
    ["text", "id"],
    ["a number", 1],
    ["nothing", null],
  ])("refuses %s", async (_name, input) => {
    await expect(validate(Item, input as object)).rejects.toMatchObject({ code: "CONFIG" })
  })
})

describe("validate of data frames", () => {
  it("reads columns as rows", async () => {
    const result = await validate(Item, { id: [1, 2, "x"], name: ["a", null, "c"] })
    expect(result.good).toEqual([
      { id: 1, name: "a", tags: [] },
      { id: 2, tags: [] },
    ])
    expect(result.bad).toMatchObject([{ index: 2, record: { id: "x", name: "c" } }])
    expect((await validate(Item, { id: Int32Array.of(4, 5) })).good.map(({ id }) => id)).toEqual([4, 5])
  })

  it("takes an object of lists for one record where the schema does", async () => {
    const Lists = z.object({ a: z.array(z.number()), b: z.array(z.number()) })
    expect((await validate(Lists, { a: [1], b: [2] })).good).toEqual([{ a: [1], b: [2] }])
    expect((await validate(Lists, { a: [[1]], b: [[2]] })).good).toEqual([{ a: [1], b: [2] }])
    expect((await validate(Lists, { a: [1], b: [2] }, { frame: true })).bad).toHaveLength(1)
    expect((await validate(Item, { id: [1] }, { frame: false })).bad).toHaveLength(1)
    await expect(validate(Item, { id: [1], name: [] }, { frame: true })).rejects.toMatchObject({ code: "CONFIG" })
  })

  it("reads Arrow tables", async () => {
    const table = tableFromArrays({ id: Int32Array.of(1, 2), name: ["a", "b"] })
    expect((await validate(Item, table)).good).toEqual([
      { id: 1, name: "a", tags: [] },
      { id: 2, name: "b", tags: [] },
    ])
  })

  it("keeps every digit, and knows dates, lists and structs", async () => {
    const Row = z.object({
      big: z.bigint(),
      small: z.int(),
      price: decimal(),
      at: timestamp({ zone: "UTC" }),
      text: z.string().nullable(),
      maybe: z.number().optional(),
      yes: z.boolean(),
      list: z.array(z.number()),
      struct: z.object({ x: z.number() }),
    })
    const cents = [12345n, -5n, 10n ** 20n]
    const words = new Uint32Array(
      cents.flatMap((value) =>
        [0n, 32n, 64n, 96n].map((shift) => Number((BigInt.asUintN(128, value) >> shift) & 0xffffffffn)),
      ),
    )
    const table = new Table({
      big: vectorFromArray([2n ** 60n, 1n, -1n], new Int64()),
      small: vectorFromArray([7n, 8n, 9n], new Int64()),
      price: new Vector([makeVector({ type: new Decimal(2, 38), data: words }).data[0]!]),
      at: vectorFromArray([0, 1.5, 1_700_000_000_123.25], new TimestampMicrosecond("UTC")),
      text: vectorFromArray(["a", null, "c"], new Utf8()),
      maybe: vectorFromArray([1.5, null, 3], new Float64()),
      yes: vectorFromArray([true, false, true], new Bool()),
      list: vectorFromArray([[1, 2], [], [3]], new List(new Field("item", new Float64()))),
      struct: vectorFromArray([{ x: 1 }, { x: 2 }, { x: 3 }], new Struct([new Field("x", new Float64())])),
    })
    const { good, bad } = await validate(Row, table)
    expect(bad).toEqual([])
    expect(good).toEqual([
      {
        big: 2n ** 60n,
        small: 7,
        price: "123.45",
        at: "1970-01-01T00:00:00.000Z",
        text: "a",
        maybe: 1.5,
        yes: true,
        list: [1, 2],
        struct: { x: 1 },
      },
      {
        big: 1n,
        small: 8,
        price: "-0.05",
        at: "1970-01-01T00:00:00.001500Z",
        text: null,
        yes: false,
        list: [],
        struct: { x: 2 },
      },
      {
        big: -1n,
        small: 9,
        price: "1000000000000000000.00",
        at: "2023-11-14T22:13:20.123250Z",
        text: "c",
        maybe: 3,
        yes: true,
        list: [3],
        struct: { x: 3 },
      },
    ])
  })
})
