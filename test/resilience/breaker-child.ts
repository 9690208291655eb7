// A process that calls a service again and again, behind the breaker that it shares over the database.
import { setTimeout as pause } from "node:timers/promises"
import { SpillwayError } from "../../src/core/errors.ts"
import { sharedBreakers } from "../../src/ledger/breakers.ts"
import { database } from "../../src/postgres/session.ts"
import { httpClient, type CircuitBreakerOptions } from "../../src/resilience/index.ts"

export interface ChildOptions {
  readonly databaseUrl: string
  readonly url: string
  readonly breaker: Omit<CircuitBreakerOptions, "name" | "store" | "ports">
}

const { databaseUrl, url, breaker } = JSON.parse(process.argv[2] ?? "{}") as ChildOptions
const store = sharedBreakers(database(databaseUrl))
const client = httpClient({ retry: false, breaker: { ...breaker, store } })
for (;;) {
  let said = "ok"
  try {
    await client.request({ url, headers: { "x-process": String(process.pid) } })
  } catch (error) {
    said = error instanceof SpillwayError ? error.code : String(error)
  }
  process.stdout.write(`${said}\n`)
  await pause(5)
}
