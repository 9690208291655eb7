import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as v from "valibot"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { z } from "zod"
import { isSecretField, withoutSecrets } from "../../src/core/secret-fields.ts"
import { pipeline, table } from "../../src/engine/definition.ts"
import { csv } from "../../src/formats/csv.ts"
import { jsonl } from "../../src/formats/jsonl.ts"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { files } from "../../src/sources/files.ts"
import { envelope, spillway, spillwayHere, type Answer } from "../cli/command-line.ts"
import { testBed, type Bed } from "../engine/bed.ts"

const secretsOf = (schema: Parameters<typeof toRecordSchema>[0], named: readonly string[] = []): string[] =>
  [...toRecordSchema(schema, undefined, named).secrets].sort()

describe("the fields that a schema marks as secret", () => {
  it("are found by zod's meta, at any depth, behind optional and nullable", () => {
    const pin = z.string().meta({ secret: true })
    const schema = z.object({
      cardNumber: z.string().meta({ secret: true }).optional(),
      open: z.string(),
      user: z.object({ pin, name: z.string() }).nullable(),
      items: z.array(z.object({ code: pin })),
      keys: z.array(pin),
      whole: z.object({ a: z.string() }).meta({ secret: true }),
    })
    expect(secretsOf(schema)).toEqual(["cardNumber", "card_number", "items[].code", "keys[]", "user.pin", "whole"])
  })

  it("are found in JSON Schema, by secret and writeOnly, behind references that go in circles", () => {
    const schema = {
      type: "object",
      properties: {
        card: { $ref: "#/$defs/card" },
        pass: { type: "string", writeOnly: true },
        secret: { type: "string" },
        next: { $ref: "#" },
      },
      $defs: { card: { type: "string", secret: true } },
    }
    expect(secretsOf(schema)).toEqual(["card", "pass"])
    expect(secretsOf({ type: "object", properties: { card: { type: "string" } } }, ["card"])).toEqual(["card"])
  })

  it("are found in valibot's metadata, and named for libraries that cannot say", () => {
    expect(
      secretsOf(
        v.object({
          card: v.pipe(v.string(), v.metadata({ secret: true })),
          a: v.string(),
        }),
      ),
    ).toEqual(["card"])
    expect(secretsOf(v.object({ a: v.string() }), ["a"])).toEqual(["a"])
  })

  it("change nothing of what the schema is otherwise", () => {
    const plain = toRecordSchema(z.object({ secret: z.string(), card: z.string() }))
    const marked = toRecordSchema(z.object({ secret: z.string(), card: z.string().meta({ secret: true }) }))
    expect(marked.description).toEqual(plain.description)
    expect(marked.columns).toEqual(plain.columns)
    expect(JSON.stringify(plain.description)).toContain('"secret"')
  })

  it("name what lies in them", () => {
    const secrets = new Set(["card", "user.pin", "items[].code"])
    for (const path of ["card", "card.number", "card[3]", "user.pin", "items[7].code", "items[7].code.x"])
      expect([path, isSecretField(path, secrets)]).toEqual([path, true])
    for (const path of ["", "cards", "user", "user.pins", "items[7]", "items.code", "x.card"])
      expect([path, isSecretField(path, secrets)]).toEqual([path, false])
  })
})

describe("what is said of a record", () => {
  const secrets = new Set(["card"])
  const clean = (message: string, path: string, record: unknown): string =>
    withoutSecrets({ code: "VALIDATION", step: "validate", message, path }, record, secrets).message
  const long = "4111-".repeat(30)
  it.each([
    ["card: expected a number, got 12", "card", { card: 12 }, "card: expected a number, got ***"],
    ["card: 4111 is not mine, got 4111", "card", { card: 4111 }, "card: is not valid, got ***"],
    ["price: expected at most 5, got 9", "price", { card: "4111" }, "price: expected at most 5, got 9"],
    ['price: higher than card "41\\"11"', "price", { card: '41"11' }, 'price: higher than card "***"'],
    [`price: higher than ${long.slice(0, 79)}…`, "price", { card: long }, "price: is not valid, got ***"],
    ["record: 4111 twice: 4111", "", { card: { number: "4111" } }, "record: *** twice: ***"],
  ])("%s", (message, path, record, expected) => expect(clean(message, path, record)).toBe(expected))

  it("does not quote a text that is not JSON", () => {
    const reason = (text: string): string => {
      try {
        return String(JSON.parse(text))
      } catch (error) {
        return (error as Error).message
      }
    }
    for (const text of [
      '{"card":"4111" oops}',
      '{"card":4111,"a":NaN}',
      "4111x",
      `{"a":"${"x".repeat(90)}","card":4111,,}`,
    ]) {
      const fault = {
        code: "DECODE",
        step: "decode",
        message: `the line is not JSON: ${reason(text)}`,
      } as const
      expect(withoutSecrets(fault, undefined, secrets).message).not.toMatch(/4111|card/)
    }
  })

  it("is told by validation without it, in every library", async () => {
    const schemas = [
      z.object({ card: z.string().max(3).meta({ secret: true }) }),
      z.object({
        card: z
          .string()
          .refine(() => false, {
            error: (issue) => `${String(issue.input)} is bad`,
          })
          .meta({ secret: true }),
      }),
      z
        .object({ card: z.string().meta({ secret: true }) })
        .refine(() => false, { error: (issue) => JSON.stringify(issue.input) }),
      v.object({
        card: v.pipe(v.string(), v.maxLength(3), v.metadata({ secret: true })),
      }),
      {
        type: "object",
        properties: { card: { type: "string", maxLength: 3, secret: true } },
      },
    ]
    for (const schema of schemas) {
      const validation = await toRecordSchema(schema).validate({
        card: "4111-2222",
      })
      expect("faults" in validation && validation.faults.length).toBe(1)
      expect(JSON.stringify(validation)).not.toContain("4111")
    }
  })
})

const PLANTED = "4111-2222-3333-4444"

describe("a secret value planted in the records of a run", () => {
  let bed: Bed
  let folder: string
  const logs: unknown[] = []
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-secret-"))
    await writeFile(join(folder, "spillway.config.ts"), "export default {}")
    bed = await testBed()
    const card = z.string().regex(/^\d*$/).meta({ secret: true })
    await bed.write(
      "a.csv",
      `id,card,price\n1,${PLANTED},3\nx,${PLANTED},3\n3,${PLANTED},4,surplus\n4,12,no\n5,41112222,5\n`,
    )
    await bed.write(
      "b.jsonl",
      `{"id":1,"card":"${PLANTED}","price":-1}\n${PLANTED} {"id":2}\n{"id":3,"card":"12","price":5}\n`,
    )
    const all = [
      { name: "cards_csv", source: files("a.csv", { format: csv() }) },
      { name: "cards_jsonl", source: files("b.jsonl", { format: jsonl() }) },
    ]
    for (const one of all) {
      const declared = pipeline({
        ...one,
        schema: z.object({ id: z.int(), card, price: z.number().min(0) }),
        transform: (record) => {
          if (record["price"] === 5) throw new Error(`cannot charge ${String(record["card"])}`)
          return record
        },
        sink: table(`shop.${one.name}`, { mode: "append" }),
      })
      logs.push(await bed.run(declared), [...bed.events])
    }
  })
  afterAll(async () => {
    await bed.end()
    await rm(folder, { recursive: true, force: true })
  })

  const here = (...args: readonly string[]): Promise<Answer> =>
    spillwayHere(["--project", folder, ...args], { DATABASE_URL: bed.url })

  it("is in the ledger, for repair, and in nothing that is shown or exported", async () => {
    const ids = (await bed.rows<{ id: string }>("SELECT id FROM ops.dead_letters")).map(({ id }) => id)
    expect(ids).toHaveLength(8)
    const kept = await bed.rows("SELECT id FROM ops.dead_letters WHERE position($1 in convert_from(raw, 'UTF8')) > 0", [
      PLANTED,
    ])
    expect(kept).toHaveLength(5)
    const told = await bed.rows("SELECT error_msg, faults FROM ops.dead_letters")
    const recorded = await bed.rows(
      ["pipeline_logs", "metrics", "pipeline_checkpoint", "dead_letter_groups", "quality_results", "runs"]
        .map((name) => `SELECT to_jsonb(t) AS row FROM ops.${name} t`)
        .join(" UNION ALL "),
    )
    const outputs: Record<string, string> = {
      told: JSON.stringify(told),
      recorded: JSON.stringify(recorded),
      logs: JSON.stringify(logs),
    }
    for (const args of [
      ["triage", "--samples", "9"],
      ["triage", "--samples", "9", "--json"],
      ["dlq", "list"],
      ["dlq", "list", "--json"],
      ["dlq", "show", ...ids],
      ["dlq", "show", ...ids, "--json"],
      ["dlq", "show", ...ids, "--reveal", "price"],
      ["dlq", "export"],
      ["status"],
      ["status", "--json"],
    ]) {
      const { code, stdout, stderr } = await here(...args)
      expect({ args, code, stderr: stderr.includes("error[") }).toEqual({
        args,
        code: 0,
        stderr: false,
      })
      expect(stdout.length).toBeGreaterThan(50)
      outputs[args.join(" ")] = stdout + stderr
    }
    const leaks = Object.entries(outputs).filter(([, text]) => text.includes("4111") || text.includes("3333"))
    expect(leaks).toEqual([])
    // It is there to be found: what is not secret is shown.
    expect(outputs["dlq export"]).toContain('"price"')
  })

  it("is shown to whoever asks for it by name", async () => {
    const [letter] = await bed.rows<{ id: string }>("SELECT id FROM ops.dead_letters WHERE record->>'id' = 'x'")
    expect((await here("dlq", "show", letter?.id ?? "", "--reveal", "card")).stdout).toContain(PLANTED)
    expect((await here("triage", "--samples", "9", "--reveal", "card", "--json")).stdout).toContain(PLANTED)
  })

  it("does not come back masked: only what is exported with the field revealed is imported again", async () => {
    const masked = join(folder, "masked.jsonl")
    const whole = join(folder, "whole.jsonl")
    const answer = await here("dlq", "export", "--out", masked)
    expect(answer.stderr).toContain("--reveal")
    expect(await readFile(masked, "utf8")).not.toContain("4111")
    expect(envelope(await here("dlq", "import", masked, "--pipeline", "p", "--json")).data).toMatchObject({
      ...{ read: 0, unread: 8 },
      unreadSamples: expect.arrayContaining([
        expect.objectContaining({
          reason: "its secret fields are masked: export it with --reveal",
        }),
      ]) as unknown,
    })
    await here("dlq", "export", "--reveal", "card", "--out", whole)
    expect(envelope(await here("dlq", "import", whole, "--pipeline", "p", "--json")).data).toMatchObject({
      read: 8,
      known: 8,
    })
    // Triage of a file knows what is secret by the letters themselves.
    const shown = await here("triage", "--dead-letter", whole, "--samples", "9", "--json")
    expect(shown.stdout).toContain('"letters":8')
    expect(shown.stdout).not.toContain("4111")
  })

  it("stays in the dead letters that validate writes, which say what is secret", async () => {
    const bad = join(folder, "bad.jsonl")
    await writeFile(join(folder, "a.csv"), `id,card\nx,${PLANTED}\n`)
    await writeFile(
      join(folder, "s.json"),
      JSON.stringify({
        type: "object",
        properties: {
          id: { type: "integer" },
          card: { type: "string", secret: true },
        },
      }),
    )
    const run = await spillway(
      ["validate", "--in-file", "a.csv", "--schema", "s.json", "--dead-letter", "bad.jsonl"],
      {},
      folder,
    )
    expect(run.code).toBe(1)
    expect(run.stdout + run.stderr).not.toContain("4111")
    expect(JSON.parse(await readFile(bad, "utf8"))).toMatchObject({
      record: { card: PLANTED },
      secrets: ["card"],
    })
    expect((await here("triage", "--dead-letter", bad, "--group", "v1")).stdout).toMatch(/card: \*\*\*/)
  })
})
