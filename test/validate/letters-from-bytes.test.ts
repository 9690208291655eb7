import { describe, expect, it } from "vitest"
import { z } from "zod"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { validated, type Validated } from "./both-ways.ts"

const Plain = z.object({ name: z.enum(["right", "good"]), size: z.int().min(1).max(9), note: z.string().optional() })
/** Not one that can be judged by bytes: its records become objects, their letters do not. */
const Refined = Plain.refine(({ note }) => note !== "odd", { message: "an odd note", path: ["note"] })
const Secret = Plain.extend({ note: z.string().max(3).optional().meta({ secret: true }) })

const told = ({ good, letters, report, warnings }: Validated) => ({
  good: good.toString("latin1"),
  letters: letters.toString("latin1"),
  report,
  warnings,
})

async function bothWays(
  zod: z.ZodType,
  rows: readonly (string | Buffer)[],
  header = "name,size,note",
): Promise<Validated> {
  const content = [Buffer.concat([header, ...rows].flatMap((row) => [Buffer.from(row), Buffer.from("\n")]))]
  const ways = { input: "csv", output: "csv" } as const
  const quick = await validated(toRecordSchema(zod), content, { ...ways, general: false })
  expect(told(quick)).toEqual(told(await validated(toRecordSchema(zod), content, { ...ways, general: true })))
  return quick
}

describe("letters written from bytes are those that the long way writes", () => {
  const values = ["right", "wrong", "", '"with ""quotes"" and, comma"', "tab\there", "back\\slash", "é", '"two\nlines"']
  const sizes = ["3", "0", "10", "a few", "", "é", "-1e3", "1.50"]
  const notes = ["", "odd", "a note", '"said ""so"""', "long note", "\u0007bell", "\u{1f600}"]
  const rows = values.flatMap((value) => sizes.flatMap((size) => notes.map((note) => `${value},${size},${note}`)))

  it.each([
    ["a schema of checks on bytes", Plain],
    ["another schema", Refined],
    ["a schema with a secret", Secret],
  ])("for %s, with one fault and with several", async (_name, zod) => {
    const { report } = await bothWays(zod, rows)
    expect(report.bad).toBeGreaterThan(rows.length / 2)
  })

  it("for faults that differ in nothing but what is expected", async () => {
    const zod = z.object({ name: z.string().regex(/^a/).regex(/z$/) })
    const { report } = await bothWays(zod, ["ab", "bz", "bb", "ac", "cz", "cc", "az"], "name")
    expect(report.bad).toBe(6)
  })

  it("for values that are all different", async () => {
    const each = Array.from({ length: 3_000 }, (_, n) => `right,a${n},`)
    const { report } = await bothWays(Plain, each)
    expect(report.bad).toBe(each.length)
    expect(report.faults).toHaveLength(1)
  })

  it("for bytes that are not UTF-8 or NUL, and for too many fields", async () => {
    const odd = [Buffer.from([0x61, 0xff, 0x2c, 0x31, 0x2c]), "a\0b,1,", "wrong,1,", "right,1,,", "é,1,,,", '"open,1,']
    const { report } = await bothWays(Plain, [...odd, ...odd.slice(0, 4)])
    expect(report.codes).toEqual({ DECODE: 8, VALIDATION: 2 })
  })

  it("for columns whose names objects put in another order", async () => {
    const zod = z.object({ "2": z.string(), "1": z.int() })
    const { letters } = await bothWays(zod, ["a,b", "c,d"], "2,1")
    expect(letters.toString()).toContain('"record":{"1":"b","2":"a"}')
  })

  it("for values with the same hash", async () => {
    // Known pairs of FNV-1a with 32 bits.
    const words = ["costarring", "liquid", "declinate", "macallums", "altarage", "zinke"]
    const { report, sure } = await bothWays(
      Plain,
      [...words, ...words, ...words].map((word) => `${word},1,`),
    )
    expect(report.bad).toBe(18)
    expect(sure).toBe(12)
  })
})
