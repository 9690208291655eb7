import { readFile, writeFile } from "node:fs/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { envelope, projectFolder, spillway, type TestProject } from "./command-line.ts"

let folder: TestProject
beforeAll(async () => {
  folder = await projectFolder({ "orders.csv": "id,amount,zip\n1,1.50,00123\n2,,00124\nshort\n" })
})
afterAll(() => folder.remove())
const infer = (...args: readonly string[]) => spillway(["schema", "infer", ...args], {}, folder.directory)

describe("spillway schema infer", () => {
  it("prints a schema, and says aloud what it could not read", async () => {
    const answer = await infer("orders.csv")
    expect(answer).toMatchObject({ code: 0, stderr: "warning: 1 of 3 records cannot be decoded and say nothing\n" })
    expect(answer.stdout).toBe(`import { decimal } from "spillway/schema"
import { z } from "zod"

/** Inferred from orders.csv: 2 records, all of which it takes. 1 more cannot be decoded. */
export const Orders = z.object({
  // 1 to 2
  id: z.int(),
  // 50 % blank; 1.5 to 1.5; up to 2 digits behind the point
  amount: decimal().optional(),
  // 5 characters; digits that are no number as they stand; such as "00123", "00124"
  zip: z.string(),
})
`)
  })

  it("writes a file that validate takes, and never writes over one", async () => {
    const answer = await infer("orders.csv", "--out", "orders.schema.json")
    expect(answer).toMatchObject({ code: 0, stdout: "● orders.schema.json: Orders, 3 fields from 2 records\n" })
    const judged = await spillway(
      ["validate", "--in-file", "orders.csv", "--schema", "orders.schema.json", "--report", "json"],
      {},
      folder.directory,
    )
    expect(JSON.parse(judged.stdout)).toMatchObject({ read: 3, good: 2, codes: { DECODE: 1 } })
    await writeFile(`${folder.directory}/mine.ts`, "edited by hand")
    const refused = await infer("orders.csv", "--out", "mine.ts")
    expect(refused.code).toBe(2)
    expect(refused.stderr).toMatch(/^error\[CONFIG\]: mine.ts is there already/)
    expect(await readFile(`${folder.directory}/mine.ts`, "utf8")).toBe("edited by hand")
  })

  it("answers in JSON", async () => {
    const answer = envelope(await infer("orders.csv", "--rows", "1", "--json"))
    expect(answer).toMatchObject({ ok: true, data: { name: "Orders", records: 1, sampled: true, out: null } })
    expect(answer.data).toMatchObject({
      properties: [{ property: "id", type: "integer" }, { property: "amount" }, { property: "zip", type: "text" }],
    })
  })

  it("names every fault of its options at once, and what is not there", async () => {
    const wrong = await infer("orders.csv", "--rows", "0", "--format", "xml", "--as", "yup")
    expect(wrong.code).toBe(2)
    for (const word of ["--rows 0", "--format xml", "--as yup"]) expect(wrong.stderr).toContain(word)
    expect(await infer("none.csv")).toMatchObject({ code: 2 })
    expect(await spillway(["schema"], {}, folder.directory)).toMatchObject({ code: 2 })
  })
})
