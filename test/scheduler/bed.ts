import { migrations } from "../../src/ledger/migrations/index.ts"
import { schedules } from "../../src/ledger/migrations/0002-schedules.ts"
import { systemPorts, type Ports } from "../../src/core/ports.ts"
import type { SpillwayError } from "../../src/core/errors.ts"
import type { RunReport } from "../../src/engine/report.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Database, type Session } from "../../src/postgres/session.ts"
import type { WorkerEvent } from "../../src/scheduler/events.ts"
import { JobQueue } from "../../src/scheduler/queue.ts"
import { SerialSession } from "../../src/scheduler/serial-session.ts"
import type { WorkerContext } from "../../src/scheduler/worker-context.ts"
import type { WorkItem, Workload, WorkloadRunOptions } from "../../src/scheduler/workload.ts"
import { freshDatabase } from "../postgres/server.ts"

export interface SchedulerBed {
  readonly database: Database
  rows<T = Record<string, unknown>>(sql: string, values?: unknown[]): Promise<T[]>
  /** A worker's parts without its loops. End it. */
  context(workload: Workload, ports?: Partial<Ports>): Promise<TestContext>
  end(): Promise<void>
}

export interface TestContext extends WorkerContext {
  readonly events: WorkerEvent[]
  end(): Promise<void>
}

export async function schedulerBed(): Promise<SchedulerBed> {
  const fresh = await freshDatabase()
  const opened = database(fresh.url)
  const session: Session = await opened.connect()
  await migrate(session, [...migrations.filter(({ number }) => number < schedules.number), schedules])
  let contexts = 0
  return {
    database: opened,
    rows: async <T>(sql: string, values: unknown[] = []) => (await session.query<T>(sql, values)).rows,
    context: async (workload, ports = {}) => {
      const all = { ...systemPorts, ...ports }
      const id = `worker_${++contexts}`
      const ledger = new SerialSession(opened, id, all, () => undefined)
      const queue = await JobQueue.open(opened, (error) => {
        throw error
      })
      const events: WorkerEvent[] = []
      const stamp: WorkerContext["stamp"] = (body) => ({ time: all.clock.now(), worker: id, ...body })
      return {
        id,
        workload,
        queue,
        ledger,
        ports: all,
        signal: new AbortController().signal,
        stamp,
        emit: (body) => {
          const event = stamp(body)
          events.push(event)
          return event
        },
        onRun: () => undefined,
        events,
        end: async () => {
          await queue.close()
          await ledger.end()
        },
      }
    },
    end: async () => {
      await session.end()
      await fresh.drop()
    },
  }
}

export type RunEnd = "built" | SpillwayError
export type Behaviour = (key: string, options: WorkloadRunOptions) => Promise<RunEnd> | RunEnd

/** A workload without tables: `behave` says how the run of a partition ends. Counts what was built. */
export function fakeWorkload(
  items: readonly WorkItem[],
  behave: Behaviour,
  partitions: () => readonly { key: string; reason: string }[] = () => [],
): Workload & { readonly built: string[] } {
  const built: string[] = []
  let runs = 0
  return {
    items,
    connectionsPerRun: 4,
    built,
    partitionsOf: () => Promise.resolve(partitions()),
    run: async (name, options) => {
      const runId = `run_${++runs}`
      const key = options.partitions?.[0] ?? "(all)"
      const end = await behave(key, options)
      if (options.signal.aborted) return report(name, runId, "cancelled")
      if (end === "built") {
        built.push(key)
        return report(name, runId, "completed")
      }
      if (end.code === "LEASE_HELD") throw end
      const { code, message, hint } = end
      return {
        ...report(name, runId, "partial"),
        held: [{ partition: key, code, message, hint, read: 0, deadLettered: 0 }],
      }
    },
  }
}

const report = (pipeline: string, runId: string, status: RunReport["status"]): RunReport =>
  ({ pipeline, runId, status, held: [], error: undefined }) as unknown as RunReport
