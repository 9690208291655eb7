import { describe, expect, it } from "vitest"
import { snakeCase } from "../../src/schema/snake-case.ts"

describe("snakeCase", () => {
  it.each([
    ["InvoiceNo", "invoice_no"],
    ["CustomerID", "customer_id"],
    ["HTTPServer", "http_server"],
    ["userId2", "user_id2"],
    ["Unit Price", "unit_price"],
    ["already_snake", "already_snake"],
    ["_source", "_source"],
    ["Price (GBP)", "price_gbp"],
    ["kebab-case.dotted", "kebab_case_dotted"],
    ["A", "a"],
    ["X2Y", "x2_y"],
    ["Größe", "größe"],
    ["ÜberID", "über_id"],
    ["2020 Total", "2020_total"],
    ["__proto__", "__proto__"],
  ])("%s becomes %s", (property, name) => {
    expect(snakeCase(property)).toBe(name)
  })

  it("takes 63 bytes and refuses more, since PostgreSQL would cut them off", () => {
    expect(snakeCase("a".repeat(63))).toBe("a".repeat(63))
    expect(() => snakeCase("a".repeat(64))).toThrowError(
      expect.objectContaining({ code: "CONFIG", hint: expect.stringContaining("name") as string }),
    )
    expect(() => snakeCase("é".repeat(32))).toThrowError(/longer than 63 bytes/)
  })

  it("refuses a property of which nothing is left", () => {
    expect(() => snakeCase("€ %")).toThrowError(/is empty/)
    expect(() => snakeCase("")).toThrowError(/is empty/)
  })
})
