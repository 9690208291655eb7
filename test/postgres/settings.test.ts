import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseIntoClientConfig } from "pg-connection-string"
import { afterEach, beforeEach, expect, test } from "vitest"
import { databaseSettings, redactUrl } from "../../src/postgres/settings.ts"

let project: string
beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), "spillway-settings-"))
})
afterEach(() => rm(project, { recursive: true, force: true }))

const dotEnv = (text: string) => writeFile(join(project, ".env"), text)
const EMBEDDED = { kind: "embedded" }

test("nothing given: the embedded server", async () => {
  expect(await databaseSettings(project, {})).toEqual(EMBEDDED)
  expect(await databaseSettings(project, { DATABASE_URL: "", DB_HOST: "", DB_USER: "me", DB_PASSWORD: "x" })).toEqual(
    EMBEDDED,
  )
  await dotEnv("# DATABASE_URL=postgres://h/d\nOTHER=1\n")
  expect(await databaseSettings(project, {})).toEqual(EMBEDDED)
})

test("DATABASE_URL is taken as it is, from the environment before .env", async () => {
  const url = "postgresql://u:p%40ss@db.example:6543/sales?sslmode=disable"
  expect(await databaseSettings(project, { DATABASE_URL: url })).toEqual({
    kind: "url",
    url,
    from: "DATABASE_URL in the environment",
  })
  await dotEnv('export DATABASE_URL="postgres://file/one" # a comment\n')
  expect(await databaseSettings(project, {})).toEqual({
    kind: "url",
    url: "postgres://file/one",
    from: "DATABASE_URL in .env",
  })
  expect(await databaseSettings(project, { DATABASE_URL: url })).toMatchObject({ url })
})

test("DB_HOST or DB_NAME is enough, from wherever; what the environment says goes first", async () => {
  expect(await databaseSettings(project, { DB_HOST: "db" })).toEqual({
    kind: "url",
    url: "postgres://postgres@db:5432/postgres",
    from: "DB_HOST in the environment",
  })
  await dotEnv("DB_NAME=sales\nDB_USER=etl\nDB_PASSWORD='s3cret#1'\nDB_PORT=6543\n")
  expect(await databaseSettings(project, {})).toEqual({
    kind: "url",
    url: "postgres://etl:s3cret%231@localhost:6543/sales",
    from: "DB_NAME in .env",
  })
  expect(await databaseSettings(project, { DB_HOST: "db", DB_PORT: "7000" })).toMatchObject({
    url: "postgres://etl:s3cret%231@db:7000/sales",
  })
  await dotEnv("DATABASE_URL=postgres://file/one\n")
  expect(await databaseSettings(project, { DB_NAME: "mine" })).toMatchObject({
    url: "postgres://postgres@localhost:5432/mine",
  })
})

test("the driver reads back exactly what was given in parts", async () => {
  const parts = { DB_USER: "a b@c", DB_PASSWORD: "p@ss:/?#[]%20+ü", DB_NAME: "my db%ü", DB_PORT: "5433" }
  for (const [DB_HOST, host] of [
    ["::1", "::1"],
    ["/var/run/postgresql", "/var/run/postgresql"],
    ["db.example", "db.example"],
  ] as const) {
    const settings = await databaseSettings(project, { ...parts, DB_HOST })
    const read = parseIntoClientConfig(settings.kind === "url" ? settings.url : "")
    expect(read).toMatchObject({
      host,
      port: 5433,
      user: parts.DB_USER,
      password: parts.DB_PASSWORD,
      database: parts.DB_NAME,
    })
  }
})

test("what is malformed is refused with its place, and without the password", async () => {
  const malformed: Record<string, string>[] = [
    { DATABASE_URL: "mysql://u:topsecret@h/d" },
    { DATABASE_URL: "postgres://u:topsecret@h:99999/d" },
    { DATABASE_URL: "postgres://u:topsecret#1@h/d" },
    { DATABASE_URL: "postgres://u:12/topsecret@h/d" },
    { DATABASE_URL: "postgres://u:topsecret%zz@h/d" },
    { DATABASE_URL: "postgres:///d" },
    { DATABASE_URL: "u:topsecret@h/d" },
    { DB_HOST: "h", DB_PORT: "54a", DB_PASSWORD: "topsecret" },
    { DB_HOST: "h", DB_PORT: "0", DB_PASSWORD: "topsecret" },
    { DB_HOST: "http://h", DB_PASSWORD: "topsecret" },
    { DB_HOST: "h/x@y", DB_PASSWORD: "topsecret" },
    { DB_NAME: "a?b", DB_PASSWORD: "topsecret" },
  ]
  for (const variables of malformed) {
    const inEnvironment = await databaseSettings(project, variables).catch((error: unknown) => error)
    expect(inEnvironment, JSON.stringify(variables)).toMatchObject({
      code: "CONFIG",
      where: "the environment",
      hint: expect.any(String) as string,
    })
    expect((inEnvironment as Error).message).not.toContain("topsecret")
    await dotEnv(
      Object.entries(variables)
        .map(([name, value]) => `${name}='${value}'\n`)
        .join(""),
    )
    await expect(databaseSettings(project, {})).rejects.toMatchObject({ code: "CONFIG", where: ".env" })
  }
})

test("a folder named .env is none", async () => {
  await mkdir(join(project, ".env"))
  expect(await databaseSettings(project, {})).toEqual(EMBEDDED)
})

test("redacted URLs", () => {
  expect(redactUrl("postgres://u:secret@h:1/d")).toBe("postgres://u:***@h:1/d")
  expect(redactUrl("postgres://u@h:1/d?x=a@b")).toBe("postgres://u@h:1/d?x=a@b")
  expect(redactUrl("postgres://h/d")).toBe("postgres://h/d")
  expect(redactUrl("postgres://h/d?user=u&password=secret")).toBe("postgres://h/d?user=u&password=***")
  for (const url of [
    "postgres://u:sec@ret@h/d",
    "postgres://u:12#secret@h/d",
    "postgres://u:12/secret@h/d",
    "u:secret@h",
    "postgres://u:secret@h:x/d",
  ])
    expect(redactUrl(url)).not.toContain("ret@")
})
