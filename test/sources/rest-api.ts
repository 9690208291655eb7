import type { IncomingMessage, ServerResponse } from "node:http"
import type { SourceContext } from "../../src/core/contracts.ts"
import { systemPorts, type Ports } from "../../src/core/ports.ts"
import type { Batch, Position } from "../../src/core/records.ts"
import { DecodeFault } from "../../src/core/records.ts"
import type { Source, SourceNotice, SourcePartition } from "../../src/index.ts"
import { httpServer, type TestServer } from "../resilience/servers.ts"

export type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void

/** A local API that notes what it was asked for. */
export interface TestApi extends TestServer {
  /** Path and parameters of each request, in order. */
  readonly asked: string[]
  /** Requests that are not answered yet. */
  readonly unanswered: () => number
}

export async function testApi(answer: Answer): Promise<TestApi> {
  const asked: string[] = []
  let unanswered = 0
  const server = await httpServer((request, response) => {
    asked.push(request.url ?? "")
    unanswered++
    response.on("close", () => unanswered--)
    answer(request, response, new URL(request.url ?? "", "http://localhost"))
  })
  return Object.assign(Object.create(server) as TestServer, { asked, unanswered: () => unanswered })
}

export function sendJson(response: ServerResponse, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(200, { "content-type": "application/json", ...headers })
  response.end(JSON.stringify(body))
}

/** Numbered items. */
export const numbered = (count: number, from = 1): { id: number; name: string }[] =>
  Array.from({ length: count }, (_, i) => ({ id: from + i, name: `item ${from + i}` }))

export interface Told {
  readonly context: SourceContext
  readonly told: SourceNotice[]
}

export function contextOf(changes: Omit<Partial<SourceContext>, "ports"> & { ports?: Partial<Ports> } = {}): Told {
  const told: SourceNotice[] = []
  const context: SourceContext = {
    directory: "/",
    signal: new AbortController().signal,
    exact: new Set(),
    maxRecordBytes: 1 << 20,
    keyed: true,
    tell: (notice) => told.push(notice),
    ...changes,
    ports: { ...systemPorts, ...changes.ports },
  }
  return { context, told }
}

export interface Reading {
  readonly partition: SourcePartition
  readonly records: unknown[]
  readonly batches: Batch[]
  readonly state: unknown
}

/** Reads every partition that a source lists, as the engine would; `known` is what the readings before left, by key. */
export async function readAll(
  source: Source,
  context: SourceContext,
  known: ReadonlyMap<string, { version: string; state: unknown }> = new Map(),
): Promise<Reading[]> {
  const before = new Map(
    [...known].map(([key, { version, state }]) => [key, { key, version, stamp: null, state: state as never }]),
  )
  const readings: Reading[] = []
  for (const partition of await source.list(context, before))
    if (known.get(partition.key)?.version !== partition.version)
      readings.push(await readOne(source, partition, context))
  return readings
}

export async function readOne(
  source: Source,
  partition: SourcePartition,
  context: SourceContext,
  from?: Position,
): Promise<Reading> {
  const reader = source.read(partition, from, context)
  const records: unknown[] = []
  const batches: Batch[] = []
  for await (const batch of reader) {
    batches.push(batch)
    for (let i = 0; i < batch.length; i++) {
      const record = batch.record(i)
      records.push(record instanceof DecodeFault ? record.fault.rule : record)
    }
  }
  return { partition, records, batches, state: structuredClone(reader.state) }
}

/** What the next listing is told. */
export const knownAfter = (readings: readonly Reading[]): Map<string, { version: string; state: unknown }> =>
  new Map(readings.map(({ partition, state }) => [partition.key, { version: partition.version, state }]))
