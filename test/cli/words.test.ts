import { describe, expect, it } from "vitest"
import { colorsFor } from "../../src/cli/colors.ts"
import { errorText, recogniseError } from "../../src/cli/errors.ts"
import { nearest } from "../../src/cli/nearest.ts"
import { sinceDate } from "../../src/cli/since.ts"
import { columns, cut, wrap } from "../../src/cli/table.ts"
import { SpillwayError } from "../../src/core/errors.ts"

const plain = colorsFor({}, {})
const NOW = Date.UTC(2026, 10, 21, 12)

describe("errors", () => {
  const error = new SpillwayError("DECODE", "bad gzip", {
    where: "a.gz",
    hint: "fetch it again",
    cause: new Error("inner", { cause: "deep" }),
  })

  it("read what, where, and what to do", () => {
    expect(errorText(error, plain, false)).toBe("error[DECODE]: bad gzip\n  --> a.gz\nhint: fetch it again")
  })

  it("show what caused them when asked, also when causes form a ring", () => {
    expect(errorText(error, plain, true)).toMatch(/caused by: Error: inner\n[^]*caused by: "deep"$/)
    const ring = new Error("ring")
    ring.cause = ring
    expect(errorText(new SpillwayError("UNKNOWN", "x", { cause: ring }), plain, true).match(/caused by/g)).toHaveLength(
      8,
    )
  })

  it("of another copy of the library are recognised by their shape, others are not made up", () => {
    const foreign = Object.assign(new Error("no"), {
      name: "SpillwayError",
      code: "CONFIG",
      class: "terminal",
      hint: "mend",
      context: {},
    })
    expect(recogniseError(foreign)).toMatchObject({ code: "CONFIG", message: "no", hint: "mend" })
    expect(recogniseError(foreign)).toBeInstanceOf(SpillwayError)
    expect(recogniseError(Object.assign(new Error("no"), { name: "SpillwayError", code: "NONSENSE" })).code).toBe(
      "UNKNOWN",
    )
    expect(recogniseError("text")).toMatchObject({ code: "UNKNOWN", message: "text" })
  })
})

describe("nearest", () => {
  it.each([
    ["retial", ["retail", "orders"], "retail"],
    ["DECOED", ["DECODE", "DNS"], "DECODE"],
    ["xyz", ["retail", "orders"], undefined],
    ["", [], undefined],
  ])("%s among %j is %s", (text, candidates, found) => expect(nearest(text, candidates)).toBe(found))
})

describe("sinceDate", () => {
  it.each([
    ["90s", "2026-11-21T11:58:30.000Z"],
    ["1h", "2026-11-21T11:00:00.000Z"],
    ["2w", "2026-11-07T12:00:00.000Z"],
    ["2026-11-20", "2026-11-20T00:00:00.000Z"],
    ["2026-11-20T08:30", "2026-11-20T08:30:00.000Z"],
    ["2026-11-20T08:30+02:00", "2026-11-20T06:30:00.000Z"],
  ])("%s is %s", (text, iso) => expect(sinceDate(text, NOW).toISOString()).toBe(iso))

  it.each(["", "soon", "1 month", "-1h", "2026-13-45", "11"])("%s is refused", (text) =>
    expect(() => sinceDate(text, NOW)).toThrow(/neither a span nor a time/),
  )
})

describe("tables", () => {
  it("align what is seen, not what colours add", () => {
    const red = colorsFor({ isTTY: true }, {}).red("ab")
    expect(
      columns(
        [
          [red, "x"],
          ["abc", "y"],
        ],
        { indent: "  " },
      ),
    ).toEqual([`  ${red}   x`, "  abc  y"])
    expect(columns([["1"], ["10"]], { right: [0] })).toEqual([" 1", "10"])
  })

  it("cut and wrap", () => {
    expect(cut("abcdef", 4)).toBe("abc…")
    expect(cut("abcd", 4)).toBe("abcd")
    expect(wrap("one two three", 7)).toEqual(["one two", "three"])
    expect(wrap("unbreakable", 4)).toEqual(["unbreakable"])
  })
})
