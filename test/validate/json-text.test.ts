import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { isJsonText, putJsonText } from "../../src/validate/json-text.ts"

const out = Buffer.alloc(4096)

function written(text: string, doubled: boolean): string | undefined {
  const bytes = Buffer.from(doubled ? text.replaceAll('"', '""') : text)
  if (!isJsonText(bytes, 0, bytes.length)) return undefined
  return out.toString("utf8", 1, putJsonText(out, 1, bytes, 0, bytes.length, doubled))
}

describe("text of JSON from bytes", () => {
  const texts = fc.string({
    unit: fc.oneof(
      fc.constantFrom('"', "\\", "\t", "\n", "\r", "é", "\u{1f600}"),
      fc.string({ minLength: 1, maxLength: 1 }),
    ),
  })
  it("is that of JSON.stringify", () => {
    fc.assert(
      fc.property(texts, fc.boolean(), (text, doubled) => {
        const expected = JSON.stringify(text).slice(1, -1)
        expect(written(text, doubled)).toBe(/[\0-\x08\x0b\x0c\x0e-\x1f]/.test(text) ? undefined : expected)
      }),
    )
  })
})
