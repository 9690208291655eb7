import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest"
import type { FailpointName } from "../../src/core/ports.ts"
import type { RunReport } from "../../src/engine/report.ts"
import { runPipeline, type RunOptions } from "../../src/engine/run.ts"
import { failpoints, systemPorts, throwAwayDatabase, type FailpointAction } from "../../src/testing/index.ts"
import type { ThrowAwayDatabase } from "../../src/testing/index.ts"
import { testDatabaseUrl } from "../postgres/server.ts"
import { endChildren } from "./child.ts"
import { query } from "./loaded.ts"
import { ordersPipeline, type Orders, type OrdersPipeline } from "./orders.ts"

/** One database for a test file, and for each test a pipeline of its own that reads a file of orders. */
export interface OrdersCase {
  readonly database: ThrowAwayDatabase
  readonly url: string
  /** Of this test's pipeline and table. */
  readonly name: string
  /** Writes what there is to load. */
  give(orders: Orders): Promise<void>
  declared(more?: Partial<OrdersPipeline>): OrdersPipeline
  /** Runs it in this process. */
  run(
    declaration: OrdersPipeline,
    actions?: Partial<Record<FailpointName, FailpointAction>>,
    options?: Partial<RunOptions>,
  ): Promise<RunReport>
  /** Asks the database; `$1` is the pipeline's name. */
  rows<Row>(sql: string): Promise<Row[]>
}

/** Sets up and tears down with the hooks of the test file that calls it. */
export function ordersCase(): OrdersCase {
  let database: ThrowAwayDatabase
  let folder: string
  let name = ""
  let tests = 0
  beforeAll(async () => {
    database = await throwAwayDatabase({ url: await testDatabaseUrl() })
    folder = await mkdtemp(join(tmpdir(), "spillway-faults-"))
  })
  beforeEach(() => {
    name = `orders_${++tests}`
  })
  afterEach(endChildren)
  afterAll(async () => {
    await database.drop()
    await rm(folder, { recursive: true, force: true })
  })
  const file = (): string => join(folder, `${name}.json`)
  return {
    get database() {
      return database
    },
    get url() {
      return database.url
    },
    get name() {
      return name
    },
    give: (orders) => writeFile(file(), JSON.stringify(orders)),
    declared: (more = {}) => ({ name, mode: "append", orders: { file: file() }, ...more }),
    run: (declaration, actions = {}, options = {}) =>
      runPipeline(ordersPipeline(declaration), {
        database,
        ports: { ...systemPorts, failpoints: failpoints(actions) },
        ...options,
      }),
    rows: (sql) => query(database.url, sql, [name]),
  }
}
