import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import { envelope, ORDERS, projectFolder, SPILLWAY, spillway, type TestProject, ZOD } from "./command-line.ts"

const folders: TestProject[] = []
const folder = async (files: Record<string, string>): Promise<TestProject> => {
  const made = await projectFolder(files)
  folders.push(made)
  return made
}
afterEach(() => Promise.all(folders.splice(0).map((one) => one.remove())))

const fault = async (files: Record<string, string>, args: string[] = []) => {
  const { directory } = await folder(files)
  const answer = await spillway(["check", "--project", directory, "--json", ...args])
  return { code: answer.code, error: envelope(answer).error, directory }
}

describe("the project", () => {
  it("is not there: exit 4, and how to name it", async () => {
    const empty = await fault({ "note.txt": "" })
    expect(empty).toMatchObject({
      code: 4,
      error: { hint: expect.stringContaining("--project") as unknown, where: empty.directory },
    })
    const nowhere = await spillway(["run", "--project", "/nowhere/at/all"])
    expect(nowhere.code).toBe(4)
    expect(nowhere.stderr).toContain("error[CONFIG]: there is no project at /nowhere/at/all")
  })

  it.each([
    ["a syntax error", "export default (\n", "cannot be read", "mend the syntax"],
    ["TypeScript that Node cannot run", "enum A { b }\nexport default A", "cannot be read", "enums, namespaces"],
    ["no default export", "export const a = 1", "no default export", "end it with: export default project("],
    [
      "a default export that is no project",
      "export default { pipelines: [] }",
      "is not a project",
      "with project imported from spillway",
    ],
    [
      "a missing import",
      'import "./gone.ts"\nexport default 1',
      "imports something that is not there",
      "check the path",
    ],
    [
      "an exception",
      'const a = 1\nthrow new Error("boom " + a)',
      "failed while it was loaded: boom 1",
      "mend the code at this place",
    ],
  ])("has %s: exit 2, with the file and what to do", async (_what, text, message, hint) => {
    const { code, error, directory } = await fault({ "spillway.config.ts": text })
    expect(code).toBe(2)
    expect(error).toMatchObject({ code: "CONFIG", message: expect.stringContaining(message) as unknown })
    expect(error?.where).toContain(join(directory, "spillway.config.ts"))
    expect(error?.hint).toContain(hint)
  })

  it("names the line that threw, also in a file that the project imports", async () => {
    const { error, directory } = await fault({
      "spillway.config.ts": 'import "./part.ts"\nexport default 1',
      "part.ts": '\n\nthrow new Error("boom")',
    })
    expect(error?.where).toBe(`${join(directory, "part.ts")}:3`)
  })

  it("tells the faults of a declaration as the declaration told them", async () => {
    const { code, error } = await fault({
      "spillway.config.ts": `import { table } from "${SPILLWAY}"\nexport default table("a.b.c", { mode: "append" })`,
    })
    expect(code).toBe(2)
    expect(error).toMatchObject({
      code: "CONFIG",
      message: '"a.b.c" is not a table name',
      hint: 'write "schema.table" or "table"',
    })
  })

  it("may be a file of any name, or lie in the working folder", async () => {
    const { directory } = await folder({
      "other.ts": ORDERS,
      "spillway.config.ts": ORDERS,
      "data/a.csv": "id,quantity\n1,1\n",
    })
    expect((await spillway(["check", "--project", join(directory, "other.ts")])).code).toBe(0)
    expect((await spillway(["check"], {}, directory)).code).toBe(0)
  })

  it("reads .env first, and the environment goes before it", async () => {
    const { directory } = await folder({
      ".env": "GREETING=from-file\nOTHER=from-file\n",
      "spillway.config.ts": "throw new Error(`${process.env.GREETING} ${process.env.OTHER}`)",
    })
    const answer = await spillway(["check", "--project", directory], { OTHER: "from-environment" })
    expect(answer.stderr).toContain("from-file from-environment")
  })

  it("shows the cause under --verbose only", async () => {
    const files = { "spillway.config.ts": 'throw new Error("boom")' }
    const { directory } = await folder(files)
    expect((await spillway(["check", "--project", directory])).stderr).not.toContain("caused by")
    expect((await spillway(["check", "--project", directory, "--verbose"])).stderr).toMatch(
      /caused by: Error: boom\n\s+at /,
    )
  })
})

describe("check", () => {
  it("tells all faults at once, and starts nothing", async () => {
    const { directory } = await folder({
      "spillway.config.ts": ORDERS.replace("data/*.csv", "missing-folder/orders.csv"),
      ".env": "DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/x\n",
    })
    const answer = await spillway(["check", "--project", directory])
    expect(answer.stdout).toContain("◆ database")
    expect(answer.stdout).toContain("error[DB_UNAVAILABLE]")
    expect(answer.stdout).toContain("● project: 1 pipeline in")
    expect(answer.stdout + answer.stderr).not.toContain("hunter2")
    expect(answer.code).toBe(5)
  })

  it("counts what each source has", async () => {
    const { directory } = await folder({ "spillway.config.ts": ORDERS, "data/a.csv": "id\n", "data/b.csv": "id\n" })
    const answer = await spillway(["check", "--project", directory])
    expect(answer.code).toBe(0)
    expect(answer.stdout).toContain("● orders: 2 files at the source (files) → bronze.orders")
    expect(answer.stdout).toContain("● database: embedded PostgreSQL, made by the first run")
  })
})

describe("before anything has run", () => {
  it("status, logs, dlq export and db url say so without making a database", async () => {
    const { directory } = await folder({ "spillway.config.ts": ORDERS })
    const status = await spillway(["status", "--check", "--project", directory])
    expect(status).toMatchObject({ code: 0, stdout: "○ never run  orders\n" })
    expect(status.stderr).toContain("nothing has run yet; begin with: spillway run")
    expect(await spillway(["logs", "--project", directory])).toMatchObject({ code: 0, stdout: "" })
    expect(await spillway(["dlq", "export", "--project", directory])).toMatchObject({ code: 0, stdout: "" })
    expect(await spillway(["db", "url", "--project", directory])).toMatchObject({ code: 4, stdout: "" })
    const database = envelope(await spillway(["db", "status", "--json", "--project", directory]))
    expect(database.data).toEqual({ kind: "embedded", state: "absent" })
  })

  it("preview shows the records at every step, and needs no database", async () => {
    const { directory } = await folder({
      "spillway.config.ts": ORDERS,
      "data/a.csv": "id,item,quantity\n1,pear,3\n2,,-1\n",
    })
    const answer = await spillway(["preview", "orders", "--project", directory])
    expect(answer.code).toBe(0)
    expect(answer.stdout).toContain("data/a.csv, line 2")
    expect(answer.stdout).toMatch(/quantity +"3" +3\n/)
    expect(answer.stdout).toContain("◆ VALIDATION in validate, quantity")
    const other = await spillway(["preview", "ordesr", "--project", directory])
    expect(other.code).toBe(4)
    expect(other.stderr).toContain('did you mean "orders"?')
  })

  it("preview shows nothing of what is secret, unless asked to", async () => {
    const { directory } = await folder({
      "spillway.config.ts": `
        import { csv, files, pipeline, project, table } from "${SPILLWAY}"
        import { z } from "${ZOD}"
        export default project({
          pipelines: [pipeline({
            name: "orders",
            source: files("data/*.csv", { format: csv() }),
            schema: z.object({ id: z.int(), card: z.string().min(12).meta({ secret: true }), made: z.iso.datetime() }),
            sink: table("orders", { key: ["id"] }),
          })],
        })`,
      "data/a.csv": "id,card,made\n1,4111111111111111,2026-01-02T03:04:05Z\n2,4222-2222,2026-01-02T03:04:05Z\n",
    })
    for (const json of [[], ["--json"]]) {
      const hidden = await spillway(["preview", "orders", "--project", directory, ...json])
      expect(hidden.code).toBe(0)
      expect(hidden.stdout).not.toMatch(/4111|2222/)
      expect(hidden.stdout).toContain("***")
      expect(hidden.stdout).toContain("2026-01-02T03:04:05")
      const shown = await spillway(["preview", "orders", "--project", directory, "--reveal", "card", ...json])
      expect(shown.stdout).toContain("4111111111111111")
      expect(shown.stdout).toContain("1,4111111111111111,2026")
    }
  })
})
