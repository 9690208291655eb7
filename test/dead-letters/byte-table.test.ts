import fc from "fast-check"
import { expect, it } from "vitest"
import { ByteTable } from "../../src/dead-letters/byte-table.ts"

/** What is looked for: runs of bytes (null: nothing there), behind a number. */
const part = fc.oneof(
  fc.constant(null),
  fc.constantFrom("", "a", "b", "abcd", "abce", "abcda", "a\u0000", "\u0000", "x".repeat(70), "y".repeat(9_000)),
)

function take(table: ByteTable<string>, parts: readonly (string | number | null)[]): void {
  table.begin()
  for (const given of parts) {
    if (typeof given === "number") table.takeNumber(given)
    else if (given === null) table.take({ bytes: Buffer.alloc(0), view: new DataView(new ArrayBuffer(0)) }, -1, 0)
    else {
      const bytes = Buffer.from(`#${given}#`)
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      table.take({ bytes, view }, 1, bytes.length - 1)
    }
  }
}

it("finds what was put under the same bytes, and nothing else", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: -2, max: 9 }), part, part), { maxLength: 60 }), (given) => {
      const table = new ByteTable<string>(1_000)
      const oracle = new Map<string, string>()
      for (const parts of given) {
        const key = JSON.stringify(parts)
        take(table, parts)
        const known = table.find()
        expect(known).toBe(oracle.get(key))
        if (known === undefined) table.put(key)
        oracle.set(key, key)
      }
    }),
  )
})

it("is emptied when it is full, and goes on", () => {
  const table = new ByteTable<string>(3)
  for (let n = 0; n < 100; n++) {
    take(table, [`value ${n}`])
    expect(table.find()).toBeUndefined()
    table.put(`value ${n}`)
    expect(table.find()).toBe(`value ${n}`)
  }
})
