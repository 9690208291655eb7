import { spawnSync } from "node:child_process"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { toRecordSchema, type AnySchema } from "../../src/schema/adapter.ts"
import { decimal } from "../../src/schema/exact.ts"
import type { StandardIssue, StandardSchema } from "../../src/schema/standard.ts"
import { faultsOf, judged, valueOf } from "./judged.ts"

const types = (schema: AnySchema, columns = {}): Record<string, string> =>
  Object.fromEntries(
    (toRecordSchema(schema, columns).columns ?? []).map(({ property, type, nullable }) => [
      property,
      nullable ? `${type}?` : type,
    ]),
  )

/** A schema written by hand against the standard: takes `{ id: text, score?: number }`. */
const byHand = (extra: Partial<StandardSchema["~standard"]> = {}): StandardSchema => ({
  "~standard": {
    version: 1,
    vendor: "by-hand",
    validate: (value) => {
      const { id, score } = value as Record<string, unknown>
      const issues: StandardIssue[] = []
      if (typeof id !== "string") issues.push({ message: "must be text", path: ["id"] })
      if (score !== undefined && typeof score !== "number")
        issues.push({ message: "must be a number", path: [{ key: "score" }] })
      return issues.length > 0 ? { issues } : { value: { id, score } }
    },
    ...extra,
  },
})

describe("columns of zod schemas", () => {
  it("follow the output, one property by one", () => {
    const schema = z.object({
      text: z.string(),
      whole: z.int(),
      small: z.int32(),
      bounded: z.int().min(0).max(100),
      number: z.number(),
      flag: z.boolean(),
      big: z.bigint(),
      int64: z.int64(),
      at: z.date(),
      day: z.iso.date(),
      instant: z.iso.datetime(),
      uuid: z.uuid(),
      nested: z.object({ a: z.string() }),
      list: z.array(z.number()),
      map: z.record(z.string(), z.number()),
      anything: z.unknown(),
      choice: z.enum(["a", "b"]),
      literal: z.literal("x"),
      numbers: z.literal([1, 2]),
      union: z.union([z.string(), z.literal("y")]),
      numeric: z.union([z.number(), z.int()]),
      parsed: z.string().transform(Number).pipe(z.number()),
      branded: z.string().brand("Id").readonly(),
      exact: decimal({ precision: 10, scale: 2 }),
      optional: z.string().optional(),
      nullable: z.date().nullable(),
      nullish: z.bigint().nullish(),
      defaulted: z.boolean().default(false),
      lazy: z.lazy(() => z.string()),
    })
    expect(types(schema)).toEqual({
      text: "text",
      whole: "bigint",
      small: "integer",
      bounded: "integer",
      number: "double precision",
      flag: "boolean",
      big: "numeric",
      int64: "bigint",
      at: "timestamptz",
      day: "date",
      instant: "timestamptz",
      uuid: "uuid",
      nested: "jsonb",
      list: "jsonb",
      map: "jsonb",
      anything: "jsonb?",
      choice: "text",
      literal: "text",
      numbers: "integer",
      union: "text",
      numeric: "double precision",
      parsed: "double precision",
      branded: "text",
      exact: "numeric(10,2)",
      optional: "text?",
      nullable: "timestamptz?",
      nullish: "numeric?",
      defaulted: "boolean",
      lazy: "text",
    })
  })

  it("join the shapes of intersections and of unions", () => {
    expect(types(z.object({ a: z.string() }).and(z.object({ b: z.int() })))).toEqual({ a: "text", b: "bigint" })
    const events = z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("sale"), amount: z.number() }),
      z.object({ kind: z.literal("visit"), page: z.string() }),
    ])
    expect(types(events)).toEqual({ kind: "text", amount: "double precision?", page: "text?" })
    expect([...toRecordSchema(events).required]).toEqual(["kind"])
  })

  it("name what they cannot tell, all of it, and take it from columns", () => {
    const schema = z.object({
      id: z.string(),
      length: z.string().transform((s) => s.length),
      mixed: z.union([z.string(), z.number()]),
    })
    const untold = toRecordSchema(schema)
    expect(() => untold.columns).toThrowError(
      expect.objectContaining({
        code: "CONFIG",
        message: expect.stringMatching(/"length", "mixed"/) as string,
        hint: expect.any(String) as string,
      }),
    )
    expect(types(schema, { length: { type: "integer", nullable: false }, mixed: { type: "text" } })).toEqual({
      id: "text",
      length: "integer",
      mixed: "text?",
    })
  })

  it("are overruled by columns", () => {
    const schema = toRecordSchema(z.object({ At: z.string(), CustomerID: z.string().optional() }), {
      At: { type: "timestamptz", zone: "Europe/London", name: "sold_at" },
      CustomerID: { nullable: false },
    })
    expect(schema.columns).toEqual([
      { property: "At", name: "sold_at", type: "timestamptz", nullable: false, zone: "Europe/London" },
      { property: "CustomerID", name: "customer_id", type: "text", nullable: false, zone: undefined },
    ])
    expect(() => toRecordSchema(z.object({ At: z.string() }), { At: { zone: "Mars" } }).columns).toThrowError(
      /not a time zone/,
    )
  })

  it("coercion is refused, wherever it stands: it invents values", () => {
    expect(() =>
      toRecordSchema(
        z.object({ price: z.coerce.number(), tags: z.array(z.object({ at: z.coerce.date() })).optional() }),
      ),
    ).toThrowError(
      expect.objectContaining({
        code: "CONFIG",
        message: expect.stringMatching(/price \(z\.coerce\.number\(\)\).*tags\.at \(z\.coerce\.date\(\)\)/) as string,
      }),
    )
  })
})

describe("what a schema tells of its input", () => {
  it("inputs, required and exact properties of zod", () => {
    const schema = toRecordSchema(
      z.object({
        a: z.string(),
        b: z.bigint().optional(),
        c: z.number().default(1),
        d: decimal(),
        e: z.string().transform(Number).pipe(z.number()),
      }),
    )
    expect([...(schema.inputs ?? [])]).toEqual(["a", "b", "c", "d", "e"])
    expect([...schema.required]).toEqual(["a", "d", "e"])
    expect([...schema.exact]).toEqual(["b", "d"])
    expect(toRecordSchema(z.looseObject({ a: z.string() })).inputs).toBeUndefined()
    expect(toRecordSchema(z.strictObject({ a: z.string() })).inputs).toEqual(new Set(["a"]))
  })

  it("a text property is exact when its column is numeric", () => {
    expect([
      ...toRecordSchema(z.object({ a: z.string(), n: z.number() }), {
        a: { type: "numeric(12,3)" },
        n: { type: "numeric" },
      }).exact,
    ]).toEqual(["a"])
  })

  it("descriptions are stable, and change with the schema", () => {
    const text = (schema: AnySchema, columns = {}): string =>
      JSON.stringify(toRecordSchema(schema, columns).description)
    const now = (): StandardSchema =>
      z.object({ a: decimal({ min: 0 }), at: z.date().default(() => new Date()), default: z.string() })
    const before = text(now())
    expect(before).toContain('"default":{"type":"string"}')
    const until = Date.now() + 3
    while (Date.now() < until);
    expect(text(now())).toBe(before)
    expect(text(z.object({ a: decimal({ min: 0 }) }))).not.toBe(text(z.object({ a: decimal({ min: 1 }) })))
    expect(text(z.object({ a: z.string() }), { a: { name: "b" } })).not.toBe(text(z.object({ a: z.string() })))
  })
})

describe("faults of zod schemas", () => {
  const schema = toRecordSchema(
    z.strictObject({
      name: z.string().min(2),
      age: z.number().min(0),
      nested: z.object({ list: z.array(z.int()) }),
      kind: z.enum(["a", "b"]),
      even: z.number().refine((n) => n % 2 === 0, "must be even"),
      either: z.union([z.number(), z.null()]),
      worded: z.string("say who you are"),
    }),
  )

  it("are all returned, each with rule, path, expectation and what came", () => {
    const faults = faultsOf(schema, {
      name: "x",
      age: -1,
      nested: { list: [1, 1.5] },
      kind: "c",
      even: 3,
      either: "no",
      surplus: 1,
    })
    expect(
      Object.fromEntries(faults.map(({ path, rule, message, actualType }) => [path, [rule, actualType, message]])),
    ).toEqual({
      name: ["too_small", "string", 'name: expected at least 2 characters, got "x"'],
      age: ["too_small", "number", "age: expected a number ≥ 0, got -1"],
      "nested.list[1]": ["invalid_type", "number", "nested.list[1]: expected an integer, got 1.5"],
      kind: ["invalid_value", "string", 'kind: expected "a" or "b", got "c"'],
      even: ["custom", "number", "even: must be even, got 3"],
      either: ["invalid_union", "string", 'either: expected a number or null, got "no"'],
      worded: ["invalid_type", "undefined", "worded: say who you are, got nothing"],
      surplus: ["unrecognized_keys", "number", "surplus: expected no such property, got 1"],
    })
    expect(faults.every(({ code, step }) => code === "VALIDATION" && step === "validate")).toBe(true)
  })

  it("hold no values in what makes the fingerprint, and only what PostgreSQL can hold", () => {
    const record = z.object({ map: z.record(z.string(), z.number()) })
    const long = "\0😀".repeat(60)
    const [fault] = faultsOf(toRecordSchema(record), { map: { "k\0\ud800": long } })
    expect(fault?.expected).toBe("a number")
    const text = JSON.stringify(fault)
    expect(text).not.toMatch(/(?<!\\)(\\\\)*\\u(0000|d[89a-f])/)
    expect(fault?.message.length).toBeLessThan(160)
  })

  it("an exception of the schema is a fault of the record", async () => {
    const throwing = toRecordSchema(
      z.object({
        a: z.number().refine(() => {
          throw new Error("boom")
        }),
      }),
    )
    const validation = await throwing.validate({ a: 1 })
    expect(validation).toEqual({
      faults: [
        {
          code: "VALIDATION",
          step: "validate",
          rule: "schema_threw",
          path: "",
          message: "record: the schema threw: boom",
        },
      ],
    })
  })
})

describe("any Standard Schema", () => {
  it("answers at once where the library does, and with a promise where it must", async () => {
    const schema = toRecordSchema(byHand())
    expect(judged(schema, { id: "1", score: 2 })).toEqual({ value: { id: "1", score: 2 } })
    expect(faultsOf(schema, { score: "x" }).map((fault) => fault.message)).toEqual([
      "id: must be text, got nothing",
      'score: must be a number, got "x"',
    ])
    const later = toRecordSchema(byHand({ validate: (value) => Promise.resolve({ value }) }))
    expect(later.validate({ id: "1" })).toBeInstanceOf(Promise)
    await expect(later.validate({ id: "1" })).resolves.toEqual({ value: { id: "1" } })
    const refusing = toRecordSchema(
      byHand({
        validate: () =>
          Promise.resolve({ issues: [{ message: "no", path: ["a", 0, "b"], code: "never" } as StandardIssue] }),
      }),
    )
    await expect(refusing.validate({})).resolves.toMatchObject({
      faults: [{ rule: "never", path: "a[0].b", message: "a[0].b: no, got nothing" }],
    })
    const broken = toRecordSchema(byHand({ validate: () => Promise.reject(new Error("later")) }))
    await expect(broken.validate({})).resolves.toMatchObject({ faults: [{ rule: "schema_threw" }] })
  })

  it("may be a function, as arktype's are, and may throw or give no record", () => {
    const callable = Object.assign(() => undefined, byHand())
    expect(valueOf(toRecordSchema(callable), { id: "1" })).toEqual({ id: "1", score: undefined })
    const throwing = byHand({
      validate: () => {
        throw new Error("at once")
      },
    })
    expect(faultsOf(toRecordSchema(throwing), {})).toMatchObject([
      { rule: "schema_threw", message: "record: the schema threw: at once" },
    ])
    expect(faultsOf(toRecordSchema(byHand({ validate: () => ({ value: "text" }) })), {})).toMatchObject([
      { rule: "not_a_record" },
    ])
  })

  it("has its columns from `columns` where it cannot list them itself", () => {
    expect(toRecordSchema(byHand()).columns).toBeUndefined()
    expect(toRecordSchema(byHand()).inputs).toBeUndefined()
    const schema = toRecordSchema(byHand(), {
      id: { type: "text", nullable: false },
      score: { type: "double precision" },
    })
    expect(schema.columns?.map(({ name, type, nullable }) => [name, type, nullable])).toEqual([
      ["id", "text", false],
      ["score", "double precision", true],
    ])
    expect(valueOf(schema, { id: "1", score: "2.5" }, true)).toEqual({ id: "1", score: 2.5 })
    expect(() => toRecordSchema(byHand(), { id: { name: "key" } }).columns).toThrowError(/"id"/)
  })

  it("has its columns from its JSON Schema where it gives one", () => {
    const json = { type: "object", properties: { id: { type: "string" } }, required: ["id"] }
    expect(types(byHand({ jsonSchema: { input: () => json, output: () => json } }))).toEqual({ id: "text" })
    const refusing = byHand({
      jsonSchema: {
        input: () => json,
        output: () => {
          throw new Error("cannot")
        },
      },
    })
    expect(toRecordSchema(refusing).columns).toBeUndefined()
  })
})

describe("what is no schema", () => {
  it.each([
    undefined,
    null,
    1,
    "text",
    [],
    {},
    new Map(),
    { id: z.string() },
    { type: z.string() },
    z.string(),
    { type: "string" },
    { type: ["string", "null"] },
  ])("%o is refused", (value) => {
    expect(() => toRecordSchema(value as AnySchema)).toThrowError(
      expect.objectContaining({ code: "CONFIG", hint: expect.any(String) as string }),
    )
  })
})

describe("import cost", () => {
  it("the adapter loads neither zod nor ajv until a schema needs them", () => {
    const script = `
      import { registerHooks } from "node:module"
      const seen = []
      registerHooks({ load: (url, context, next) => (seen.push(url), next(url, context)) })
      const { toRecordSchema } = await import("./src/schema/adapter.ts")
      const early = seen.filter((url) => /node_modules/.test(url)).length
      toRecordSchema({ type: "object", properties: { a: { type: "string" } } })
      console.log(JSON.stringify({ early, ajv: seen.some((url) => /node_modules\\/ajv\\//.test(url)) }))`
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" })
    expect(stdout, stderr).toContain("{")
    expect(JSON.parse(stdout)).toEqual({ early: 0, ajv: true })
  })
})
