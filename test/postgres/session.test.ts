import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { database, type Session } from "../../src/postgres/session.ts"
import { throwAwayDatabase, type ThrowAwayDatabase } from "../../src/testing/index.ts"
import { testDatabaseUrl } from "./server.ts"

let db: ThrowAwayDatabase
let session: Session
let onlooker: Session
beforeEach(async () => {
  db = await throwAwayDatabase({ url: await testDatabaseUrl() })
  session = await database(db.url).connect()
  onlooker = await database(db.url).connect()
  await session.query("CREATE TABLE t (n integer)")
})
afterEach(async () => {
  await session.end()
  await onlooker.end()
  await db.drop()
})

/** What another connection sees. */
async function seen(): Promise<number[]> {
  const { rows } = await onlooker.query<{ n: number }>("SELECT n FROM t ORDER BY n")
  return rows.map(({ n }) => n)
}

/** `idle`, or `idle in transaction`, which it also is after an error in one. */
async function state(): Promise<string | undefined> {
  const { rows } = await onlooker.query<{ state: string }>("SELECT state FROM pg_stat_activity WHERE pid = $1", [
    session.pid,
  ])
  return rows[0]?.state.replace(" (aborted)", "")
}

const FIRST: readonly (readonly [string, () => Promise<unknown>])[] = [
  ["a statement", () => session.query("INSERT INTO t VALUES (1)")],
  ["a statement with values", () => session.query("INSERT INTO t VALUES ($1)", [1])],
  ["COPY", () => session.copyIn("COPY t FROM STDIN", Buffer.from("1\n"))],
]

describe.each(FIRST)("a transaction that begins with %s", (_what, write) => {
  it("is seen by others when it is committed, and not before", async () => {
    const result = await session.transaction(async () => {
      await write()
      expect(await state()).toBe("idle in transaction")
      expect(await seen()).toEqual([])
      return "done"
    })
    expect(result).toBe("done")
    expect(await seen()).toEqual([1])
    expect(await state()).toBe("idle")
  })

  it("leaves nothing when its body throws", async () => {
    const thrown = new Error("given up")
    await expect(
      session.transaction(async () => {
        await write()
        throw thrown
      }),
    ).rejects.toBe(thrown)
    expect(await seen()).toEqual([])
    expect(await state()).toBe("idle")
  })

  it("keeps what came before a savepoint, whatever is asked first behind it", async () => {
    await session.transaction(async () => {
      await write()
      session.savepoint("here")
      await session.query("INSERT INTO t VALUES (2)")
      await session.query("ROLLBACK TO SAVEPOINT here")
      session.savepoint("there")
      await session.query("ROLLBACK TO SAVEPOINT there")
      session.savepoint("copy")
      await expect(session.copyIn("COPY t FROM STDIN", Buffer.from("two\n"))).rejects.toMatchObject({
        code: "DB_CONSTRAINT",
      })
      await session.query("ROLLBACK TO SAVEPOINT copy")
    })
    expect(await seen()).toEqual([1])
  })
})

it.each([
  ["is wrong", () => session.query("INSERT INTO t VALUES (1/0)")],
  ["with values is wrong", () => session.query("INSERT INTO t VALUES (1/$1::integer)", [0])],
  ["is no SQL", () => session.query("INSERT IN t")],
])("a first statement that %s leaves no transaction behind", async (_what, write) => {
  await expect(session.transaction(write)).rejects.toThrow()
  expect(await state()).toBe("idle")
  await session.query("INSERT INTO t VALUES (3)")
  expect(await seen()).toEqual([3])
})

it("a transaction in which nothing is asked is none, and the next statement stands by itself", async () => {
  await session.transaction(() => Promise.resolve())
  await expect(session.transaction(() => Promise.reject(new Error("nothing yet")))).rejects.toThrow("nothing yet")
  expect(await state()).toBe("idle")
  await session.query("INSERT INTO t VALUES (4)")
  expect(await seen()).toEqual([4])
})

it("gives the result of the statement that was asked, not of those that went out with it", async () => {
  await session.transaction(async () => {
    const { rows, rowCount, fields } = await session.query("SELECT 5 AS five")
    expect({ rows, rowCount, names: fields.map(({ name }) => name) }).toEqual({
      rows: [{ five: 5 }],
      rowCount: 1,
      names: ["five"],
    })
    session.savepoint("here")
    expect(await session.copyIn("COPY t FROM STDIN", Buffer.from("6\n7\n"))).toBe(2)
  })
})
