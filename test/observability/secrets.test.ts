import { afterEach, describe, expect, it } from "vitest"
import { redact, redactValue, registerSecret } from "../../src/core/secrets.ts"

describe("redact", () => {
  const forget: (() => void)[] = []
  afterEach(() => forget.splice(0).forEach((one) => one()))

  it.each([
    ["postgres://u:hunter2@host/db is down", "postgres://u:***@host/db is down"],
    ["postgres://u:p@ss@host/db", "postgres://u:***@host/db"],
    ["postgres://u:p/a@host/db", "postgres://u:***@host/db"],
    ["postgres://:only@host/db", "postgres://:***@host/db"],
    ["https://host:8080/users/@me", "https://host:8080/users/@me"],
    ["host=a password=hunter2 user=b", "host=a password=*** user=b"],
    ["GET /x?api_key=abc&page=2", "GET /x?api_key=***&page=2"],
    ["Authorization: Bearer abc.def-123==", "Authorization: Bearer ***"],
    ["the bearer of news", "the bearer of news"],
  ])("%s", (text, clean) => expect(redact(text)).toBe(clean))

  it("masks what was registered, wherever it surfaces, and no more once it is taken back", () => {
    const takeBack = registerSecret("s3cr3t.$&")
    expect(redact("a s3cr3t.$& b s3cr3t.$&")).toBe("a *** b ***")
    expect(redactValue({ a: ["x s3cr3t.$&", 1, null, { b: "s3cr3t.$&" }] })).toEqual({
      a: ["x ***", 1, null, { b: "***" }],
    })
    takeBack()
    expect(redact("s3cr3t.$&")).toBe("s3cr3t.$&")
  })

  it("leaves short values alone: they would blot out ordinary words", () => {
    forget.push(registerSecret("the"))
    expect(redact("the end")).toBe("the end")
  })
})
