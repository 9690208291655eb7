import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ObjectScan } from "../../src/dead-letters/object-scan.ts"

const KEYS = ["ts", "id", "record", "source", "faults", "error_code", 'a"b']
const key = fc.oneof(fc.constantFrom(...KEYS), fc.string({ maxLength: 8 }))
/** Strings with what scanning could trip over: quotes, backslashes, brackets, long runs. */
const text = fc
  .array(fc.constantFrom('"', "\\", "{", "}", "[", "]", ",", ":", "é", "\u0000", "x".repeat(60), '},"id":', " "), {
    maxLength: 6,
  })
  .map((parts) => parts.join(""))
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    text,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    tie("list"),
    tie("object"),
  ),
  list: fc.array(tie("value"), { maxLength: 4 }),
  object: fc.dictionary(key, tie("value"), { maxKeys: 5 }),
}))
const object = fc.dictionary(key, value, { maxKeys: 9 })

const printed = (given: unknown, indent: number): Buffer => Buffer.from(JSON.stringify(given, null, indent))

describe("a scan", () => {
  it("finds the values that JSON.parse finds, object after object, with space or without", () => {
    const scan = new ObjectScan(KEYS)
    fc.assert(
      fc.property(fc.array(object, { minLength: 1, maxLength: 5 }), fc.constantFrom(0, 2), (objects, indent) => {
        for (const given of objects.flatMap((one) => [one, one])) {
          const bytes = Buffer.concat([Buffer.from("##"), printed(given, indent), Buffer.from('"}')])
          expect(scan.read(bytes, 2, bytes.length - 2)).toBe(true)
          KEYS.forEach((name, i) => {
            const expected = Object.hasOwn(given, name) ? given[name] : undefined
            expect(scan.value(i)).toEqual(expected)
            expect(scan.text(i)).toEqual(typeof expected === "string" ? expected : undefined)
            expect(scan.elements(i)).toBe(Array.isArray(expected) ? Math.min(expected.length, 2) : 0)
          })
        }
      }),
      { numRuns: 3_000 },
    )
  })

  it("refuses every object that is cut off, also one whose keys it expects", () => {
    const scan = new ObjectScan(KEYS)
    fc.assert(
      fc.property(object, (given) => {
        const bytes = printed(given, 0)
        expect(scan.read(bytes, 0, bytes.length)).toBe(true)
        for (let end = 0; end < bytes.length; end++) expect(scan.read(bytes, 0, end)).toBe(false)
      }),
      { numRuns: 300 },
    )
  })

  it.each(["", "[]", "1", '"x"', "{} {}", '{"a":1,}', '{"a"}', '{"a":}', "{a:1}", '{"a":1 "b":2}', '{"id":"x"}}'])(
    "refuses %j",
    (line) => expect(new ObjectScan(KEYS).read(Buffer.from(line), 0, line.length)).toBe(false),
  )

  it("takes the last of a key that is there twice, and reads keys with escapes", () => {
    const scan = new ObjectScan(KEYS)
    const bytes = Buffer.from('{"id":1,"\\u0069d":2,"__proto__":{"id":3}}')
    expect(scan.read(bytes, 0, bytes.length)).toBe(true)
    expect(scan.value(1)).toBe(2)
  })
})
