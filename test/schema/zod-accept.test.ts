import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { decimal, timestamp } from "../../src/schema/index.ts"
import { zodAcceptor } from "../../src/schema/zod-accept.ts"

const Everything = z.object({
  text: z.string(),
  short: z.string().min(2).max(4),
  exactly: z.string().length(3).optional(),
  code: z
    .string()
    .regex(/^[ab]+$/)
    .max(3),
  number: z.number(),
  bounded: z.number().gt(-1).max(10),
  int: z.int().min(1),
  small: z.int32().nullable(),
  flag: z.boolean().optional(),
  status: z.enum(["new", "paid"]),
  price: decimal({ min: 0, max: "99.5" }),
  amount: decimal({ precision: 5, scale: 2 }).optional(),
  at: timestamp({ zone: "UTC" }),
  zoned: timestamp({ zone: "in text" }).nullable(),
})

const odd = fc.constantFrom<unknown>(
  undefined,
  null,
  "",
  "x",
  0,
  -1,
  1.5,
  2 ** 31,
  2 ** 53,
  NaN,
  Infinity,
  true,
  [],
  {},
  "NaN",
  "99.51",
  "-0.01",
  "1000",
  "0.001",
  "2026-02-30 10:00:00",
  "2026-02-28",
  11,
  "xxxxx",
  "😀",
  "a😀",
  "😀😀😀",
  "toString",
  "new",
  "1e3",
)
const near = <T>(good: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 30, arbitrary: good }, { weight: 1, arbitrary: odd })
const records = fc.record({
  text: near(fc.string()),
  short: near(fc.string({ minLength: 2, maxLength: 4 })),
  exactly: near(fc.string({ minLength: 3, maxLength: 3 })),
  code: near(fc.constantFrom("a", "ab", "bab")),
  number: near(fc.double({ noNaN: true })),
  bounded: near(fc.double({ min: -0.5, max: 10, noNaN: true })),
  int: near(fc.integer({ min: 1, max: 5 })),
  small: near(fc.integer()),
  flag: near(fc.boolean()),
  status: near(fc.constantFrom("new", "paid")),
  price: near(fc.constantFrom("0", "99.5", "99.500", "1e1", ".5", "5.")),
  amount: near(fc.constantFrom("999.99", "-999.990", "-1.50")),
  at: near(
    fc.constantFrom(
      "2026-02-28 10:00:00",
      "2026-02-30 10:00:00",
      "2026-02-28T10:00:00Z",
      "2026-02-28T10:00+01:00",
      "2026-02-28",
    ),
  ),
  zoned: near(fc.constantFrom("2026-02-28T10:00:00Z", "2024-02-29 23:59:59.123456-05")),
})

describe("the acceptor", () => {
  it("accepts exactly what zod accepts, and gives the same record", () => {
    const accept = zodAcceptor(Everything)
    let accepted = 0
    fc.assert(
      fc.property(
        records,
        fc.array(fc.constantFrom("text", "exactly", "flag", "small", "extra")),
        (record, without) => {
          const input: Record<string, unknown> = { ...record, extra: 1 }
          for (const name of without) delete input[name]
          const ours = accept?.accept(input)
          const theirs = Everything.safeParse(input)
          expect(ours !== undefined).toBe(theirs.success)
          if (theirs.success) {
            expect(ours).toStrictEqual(theirs.data)
            accepted++
          }
        },
      ),
      { numRuns: 3000 },
    )
    expect(accepted).toBeGreaterThan(100)
  })

  it.each([
    ["a refinement of the object", z.object({ a: z.string() }).refine(() => false)],
    ["a strict object", z.strictObject({ a: z.string() })],
    ["an open object", z.looseObject({ a: z.string() })],
    ["a refinement of a field", z.object({ a: z.string().refine(() => false) })],
    ["a refinement of an exact text", z.object({ a: decimal().refine(() => false) })],
    ["a refinement of a number", z.object({ a: z.number().check(() => undefined) })],
    ["a format", z.object({ a: z.email() })],
    ["a pattern that remembers", z.object({ a: z.string().regex(/x/g) })],
    ["a change of the text", z.object({ a: z.string().trim() })],
    ["a transform", z.object({ a: z.string().transform(() => 1) })],
    ["a default", z.object({ a: z.string().default("x") })],
    ["a multiple", z.object({ a: z.number().multipleOf(3) })],
    ["an array", z.object({ a: z.array(z.string()) })],
    [
      "a refined optional",
      z.object({
        a: z
          .string()
          .optional()
          .refine(() => false),
      }),
    ],
    ["no object", z.string()],
    ["no schema", {}],
  ])("leaves %s to zod", (_name, schema) => {
    expect(zodAcceptor(schema)).toBeUndefined()
  })
})
