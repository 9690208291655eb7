import pg from "pg"
import { expect, test } from "vitest"
import { freshDatabase } from "./server.ts"

test("fresh databases are apart from one another, and drop cuts their connections", async () => {
  const [a, b] = await Promise.all([freshDatabase(), freshDatabase()])
  const clients = [a, b].map(({ url }) => new pg.Client({ connectionString: url }))
  const cut = clients.map((client) => new Promise((resolve) => client.on("error", resolve)))
  await Promise.all(clients.map((client) => client.connect()))
  await clients[0]!.query("CREATE TABLE only_here ()")
  const { rows } = await clients[1]!.query("SELECT to_regclass('only_here') AS found")
  expect(rows).toEqual([{ found: null }])
  await Promise.all([a.drop(), b.drop()])
  await Promise.all(cut)
})
