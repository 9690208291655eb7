import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ledgerBed, putLetter, type LedgerBed } from "../dead-letters/letters.ts"
import { envelope, projectFolder, spillwayHere, type Answer, type TestProject } from "./command-line.ts"

const price = (i: number): string =>
  JSON.stringify({
    ts: `2026-11-20T03:${String(i % 60).padStart(2, "0")}:00.000Z`,
    error_code: "VALIDATION",
    error_msg: `price: expected a number of at least 0, got -${i}`,
    record: { id: i, price: -i, note: "a\u001b[31mred" },
    id: `dl_${i}`,
    fingerprint: "v1:1111",
    pipeline_name: "orders",
    path: "price",
    rule: "min",
    faults: [
      {
        path: "price",
        rule: "min",
        expected: "a number of at least 0",
        message: `price: expected a number of at least 0, got -${i}`,
      },
    ],
    source: { file: "data/a.csv", line: i },
  })
const cut = JSON.stringify({
  ts: "2026-11-20T04:00:00Z",
  error_code: "DECODE",
  error_msg: "too few columns",
  record: null,
  fingerprint: "v1:2222",
})

interface Listed {
  id: string
  place: string
  status: string
  statusReason: string | null
}

let project: TestProject
let bed: LedgerBed
beforeAll(async () => {
  bed = await ledgerBed()
  project = await projectFolder({
    "spillway.config.ts": "export default {}",
    "letters.jsonl": `${Array.from({ length: 30 }, (_, i) => price(i + 1)).join("\n")}\n${cut}\n{"ts":"2026`,
  })
  await putLetter(bed.session, {
    id: "dl_a",
    group: "v1:aaaa",
    source: { file: "a.csv", line: 3 },
    faults: [{ path: "price", rule: "min", expected: "at least 0", message: "price: expected at least 0, got -1" }],
    record: { price: -1, token: "tok-4711" },
    raw: Buffer.from("-1,tok-4711"),
  })
  await putLetter(bed.session, { id: "dl_b", group: "v1:aaaa", ago: 60 })
  await putLetter(bed.session, { id: "dl_c", group: "v1:bbbb", code: "DECODE", raw: Buffer.from("x\u0007y") })
  await putLetter(bed.session, { id: "dl_r", group: "v1:bbbb", code: "DECODE", status: "replayed" })
})
afterAll(async () => {
  await project.remove()
  await bed.end()
})

const here = (args: readonly string[]): Promise<Answer> =>
  spillwayHere(["--project", project.directory, ...args], { DATABASE_URL: bed.url })
const ofFile = (...args: readonly string[]): Promise<Answer> =>
  here(["triage", "--dead-letter", `${project.directory}/letters.jsonl`, ...args])
const data = async (args: readonly string[]): Promise<unknown> => envelope(await here([...args, "--json"])).data

describe("triage of a file", () => {
  it("says on one screen what happened", async () => {
    const { code, stdout, stderr } = await ofFile()
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(stdout).toMatch(/^31 dead letters in \S+letters\.jsonl, 2026-11-20 03:01 – 04:00 UTC {2}[ ▁-█]+$/m)
    expect(stdout).toContain("  30  96.77 %  VALIDATION\n   1   3.23 %  DECODE\n")
    expect(stdout).toContain("  30  96.77 %  price: min\n   1   3.23 %  (whole record)\n")
    expect(stdout).toMatch(
      /v1:1111 {2}30 letters {2}VALIDATION price: min {2}orders\n.*first 2026-11-20 03:01, last 2026-11-20 03:30\n.*e\.g\. data\/a\.csv:1 {2}price = -1/,
    )
    expect(stdout).toContain("by source\n  30  96.77 %  data/a.csv\n")
    expect(stdout).toMatch(
      /▲ 1 piece of the input could not be read as a letter\n.*letters\.jsonl:32: the last line is cut off/,
    )
    expect(stdout).toContain("next: spillway triage --group v1:1111")
  })

  it("shows a letter of one group against its schema, control characters made visible", async () => {
    const { stdout } = await ofFile("--group", "11", "--samples", "2")
    expect(stdout).toContain("- price: expected a number of at least 0  (min)\n    + price: got -1\n")
    expect(stdout).toContain("+ price: got -2")
    expect(stdout).toContain("id: 1")
    expect(stdout).not.toContain("\u001b")
    expect(stdout).not.toContain("DECODE")
  })

  it("filters, counts by one thing, and answers with JSON", async () => {
    expect((await ofFile("--filter", "code = DECODE", "--by", "code")).stdout).toMatch(
      /^1 dead letter in [^]*by code\n {2}1 {2}100\.00 % {2}DECODE\n\n▲/,
    )
    expect((await ofFile("--since", "2026-11-20T03:30Z", "--by", "field")).stdout).toContain("1  50.00 %  price: min")
    const answer = envelope(await ofFile("--json", "--samples", "0"))
    expect(answer.warnings).toEqual(["1 of the input could not be read as a letter"])
    expect(answer.data).toMatchObject({
      letters: 31,
      from: "2026-11-20T03:01:00.000Z",
      groups: [{ fingerprint: "v1:1111", letters: 30, samples: [] }, { fingerprint: "v1:2222" }],
    })
  })

  it.each([
    [["--by", "colour"], 2, "--by colour is nothing to count by"],
    [["--samples", "-1"], 2, "--samples -1"],
    [["--filter", "cod = x"], 2, '"cod" is not one of its words'],
    [["--group", "v1:9"], 4, "there is no group v1:9 among these letters"],
    [["--group", "v1"], 2, "2 groups begin with v1"],
  ])("%j is refused with a hint", async (args, code, message) => {
    const answer = await ofFile(...args)
    expect(answer).toMatchObject({ code, stdout: "" })
    expect(answer.stderr).toContain(message)
    expect(answer.stderr).toMatch(/^hint: /m)
  })

  it("says so when the file is missing: exit 4", async () => {
    expect((await here(["triage", "--dead-letter", "/nowhere/x.jsonl"])).code).toBe(4)
  })
})

describe("the dead letters of the database", () => {
  it("are summed up with the states of their groups; only open ones unless a status is named", async () => {
    const { stdout, code } = await here(["triage"])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^3 dead letters in the database/)
    expect(stdout).toMatch(/v1:aaaa {2}2 letters {2}VALIDATION price: min {2}orders {2}▲ new/)
    expect(await data(["dlq", "triage", "--filter", "status = replayed"])).toMatchObject({ letters: 1 })
    expect(await data(["triage", "--since", "30m", "--group", "aa"])).toMatchObject({
      letters: 1,
      groups: [{ state: "new", open: 2 }],
    })
  })

  it("are listed and shown, with what is secret masked", async () => {
    const open = (await data(["dlq", "list", "--filter", "field = price or code = DECODE"])) as Listed[]
    expect(open.map(({ id, place }) => `${id} ${place}`).sort()).toEqual(["dl_a a.csv:3", "dl_c "])
    const shown = await here(["dlq", "show", "dl_a"])
    expect(shown.stdout).toMatch(/- price: expected at least 0 {2}\(min\)\n\+ price: got -1\n {2}token: \*\*\*/)
    expect(shown.stdout).not.toContain("4711")
    expect((await here(["dlq", "show", "dl_a", "--reveal", "token"])).stdout).toContain("raw: -1,tok-4711")
    expect((await here(["dlq", "show", "dl_c"])).stdout).toContain("raw: x␇y")
    expect((await here(["dlq", "show", "dl_nope"])).code).toBe(4)
  })

  it("are suppressed with reason and expiry, resolved, and noted, by the beginning of a fingerprint", async () => {
    expect((await here(["triage", "suppress", "bb", "--reason", "x"])).stderr).toContain("--until")
    expect((await here(["triage", "suppress", "bb", "--reason", "x", "--until", "2020-01-01"])).stderr).toContain(
      "is over already",
    )
    expect(await data(["triage", "suppress", "bb", "--reason", "feed is mended", "--until", "7d"])).toMatchObject({
      state: "suppressed",
      suppressReason: "feed is mended",
    })
    expect((await here(["triage", "note", "bb", "since\u0007Monday"])).code).toBe(0)
    expect((await here(["triage"])).stdout).toMatch(
      /○ suppressed\n.*\n {4}suppressed until 20.*: feed is mended\n {4}note: since␇Monday/,
    )
    expect((await here(["triage", "resolve", "bb"])).stdout).toMatch(/v1:bbbb.*● resolved, 1 open/)
    expect((await here(["triage", "resolve", "zz"])).code).toBe(4)
  })

  it("are discarded only with a reason, a choice and --yes", async () => {
    expect((await here(["dlq", "discard", "--group", "aa"])).code).toBe(2)
    expect((await here(["dlq", "discard", "--reason", "r"])).stderr).toContain("nothing is chosen")
    const plan = await here(["dlq", "discard", "--ids", "dl_b,dl_r", "--reason", "test orders"])
    expect(plan.stdout).toContain("1 letter would be discarded: test orders")
    expect(await data(["dlq", "list", "--filter", "id = dl_b"])).toMatchObject([{ status: "pending" }])
    expect((await here(["dlq", "discard", "--ids", "dl_b,dl_r", "--reason", "test orders", "--yes"])).stdout).toBe(
      "1 letter discarded: test orders\n",
    )
    const both = (await data(["dlq", "list", "--filter", "id in (dl_b, dl_r)"])) as Listed[]
    expect(both.map(({ id, status, statusReason }) => [id, status, statusReason]).sort()).toEqual([
      ["dl_b", "discarded", "test orders"],
      ["dl_r", "replayed", null],
    ])
    expect((await here(["dlq", "discard", "--ids", "dl_b", "--reason", "r", "--yes"])).code).toBe(4)
  })

  it("are imported from a file, once", async () => {
    const file = `${project.directory}/letters.jsonl`
    const first = envelope(await here(["dlq", "import", file, "--pipeline", "orders", "--json"]))
    expect(first).toMatchObject({
      ok: true,
      data: { read: 31, added: 31, known: 0, unread: 1, unreadSamples: [{ reason: "the last line is cut off" }] },
      warnings: [expect.stringMatching(/letters\.jsonl:32: the last line is cut off$/) as string],
    })
    expect(await data(["dlq", "import", file, "--pipeline", "orders"])).toMatchObject({ added: 0, known: 31 })
    expect(await data(["triage", "--group", "v1:1111"])).toMatchObject({
      letters: 30,
      byField: [{ field: "price", rule: "min", letters: 30 }],
    })
  })
})
