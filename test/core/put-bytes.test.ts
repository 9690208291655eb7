import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { put, putNumber, putRange, putUndoubled } from "../../src/core/put-bytes.ts"

const out = Buffer.alloc(4096)
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array))

/** What was written from offset 3 on; nothing may stand before or behind it. */
function written(write: (at: number) => number): Buffer {
  out.fill(0xaa)
  const end = write(3)
  expect(out.subarray(0, 3).every((byte) => byte === 0xaa)).toBe(true)
  expect(out.subarray(end).every((byte) => byte === 0xaa)).toBe(true)
  return Buffer.from(out.subarray(3, end))
}

describe("bytes", () => {
  it("are written as they are, few and many", () => {
    fc.assert(
      fc.property(bytes, (some) => {
        expect(written((at) => put(out, at, some))).toEqual(some)
      }),
    )
  })

  it("are written from a range", () => {
    fc.assert(
      fc.property(bytes, fc.nat(200), fc.nat(200), (some, a, b) => {
        const [from, to] = [Math.min(a, b, some.length), Math.min(Math.max(a, b), some.length)]
        expect(written((at) => putRange(out, at, some, from, to))).toEqual(some.subarray(from, to))
      }),
    )
  })

  it("are written with each pair of quotes as one", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("'", '"', "a", "é") }),
        fc.constantFrom("'", '"'),
        (text, quote) => {
          const doubled = Buffer.from(`${quote}${text.replaceAll(quote, quote + quote)}${quote}`)
          const content = written((at) => putUndoubled(out, at, doubled, 1, doubled.length - 1, quote.charCodeAt(0)))
          expect(content.toString()).toBe(text)
        },
      ),
    )
  })
})

describe("a whole number", () => {
  it("is that of String", () => {
    const numbers = fc.oneof(
      fc.nat(1000),
      fc.nat(),
      fc.maxSafeNat(),
      fc.nat(15).map((n) => 10 ** n),
      fc.nat(15).map((n) => 10 ** n - 1),
      fc.constantFrom(0, 2 ** 31 - 1, 2 ** 31, 2 ** 32),
    )
    fc.assert(
      fc.property(numbers, (number) => {
        expect(written((at) => putNumber(out, at, number)).toString()).toBe(String(number))
      }),
    )
  })
})
