// node bench/rest.ts [--pages 1000 --items 1000 --runs 5]
// Reading a paginated API through rest(…), each record made, against a bare loop of undici requests that parses each page. Both in turn
// in one run, from a server in a process of its own; medians of the runs, and of their pairs. The goal is 0.8 × the bare loop's speed.
import { fork } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Agent } from "undici"
import type { SourceContext } from "../src/core/contracts.ts"
import { systemPorts } from "../src/core/ports.ts"
import { pageNumber, rest } from "../src/sources/index.ts"
import { median, seconds, spread } from "./server.ts"

const { values } = parseArgs({
  options: {
    pages: { type: "string", default: "1000" },
    items: { type: "string", default: "1000" },
    runs: { type: "string", default: "5" },
    serve: { type: "boolean", default: false },
  },
})
const pages = Number(values.pages)
const items = Number(values.items)
const runs = Number(values.runs)

const item = (id: number): object => ({
  id,
  user_id: `user-${id % 977}`,
  event: "page_view",
  timestamp: new Date(Date.UTC(2026, 0, 1) + id * 1_000).toISOString(),
  properties: { path: `/products/${id % 300}`, seconds: id % 60 },
})

/** Pages that differ in their first item; the others are made once. */
function serve(): void {
  const others = Array.from({ length: items - 1 }, (_, i) => JSON.stringify(item(i)))
  const tail = Buffer.from(`${others.map((text) => `,${text}`).join("")}]}`)
  const server = createServer((request, response) => {
    const page = Number(/page=(\d+)/.exec(request.url ?? "")?.[1])
    const head = Buffer.from(`{"page":${page},"more":${page < pages},"items":[${JSON.stringify(item(page * items))}`)
    response.writeHead(200, { "content-type": "application/json", "content-length": head.length + tail.length })
    response.write(head)
    response.end(tail)
  })
  server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port))
}

async function bare(url: string): Promise<number> {
  const agent = new Agent()
  let records = 0
  for (let page = 1, more = true; more; page++) {
    const { body } = await agent.request({ origin: url, path: `/?page=${page}`, method: "GET" })
    const parsed = (await body.json()) as { items: Record<string, unknown>[]; more: boolean }
    for (const record of parsed.items) if (record["id"] !== undefined) records++
    more = parsed.more
  }
  await agent.close()
  return records
}

async function throughSource(url: string): Promise<number> {
  const source = rest({ url, paginate: pageNumber({ more: "more" }), items: "items" })
  const context: SourceContext = {
    ports: systemPorts,
    directory: ".",
    signal: new AbortController().signal,
    exact: new Set(),
    maxRecordBytes: 16 << 20,
    keyed: true,
  }
  let records = 0
  for (const partition of await source.list(context, new Map()))
    for await (const batch of source.read(partition, undefined, context))
      for (let i = 0; i < batch.length; i++)
        if ((batch.record(i) as Record<string, unknown>)["id"] !== undefined) records++
  return records
}

/** How long it took, and what it took of the processor: the second says more where others use the machine too. Milliseconds. */
interface Timing {
  readonly ms: number
  readonly cpuMs: number
}

async function timed(body: () => Promise<number>): Promise<Timing> {
  const begun = performance.now()
  const cpu = process.cpuUsage()
  const records = await body()
  if (records !== pages * items) throw new Error(`${records} of ${pages * items} records`)
  const { user, system } = process.cpuUsage(cpu)
  return { ms: performance.now() - begun, cpuMs: (user + system) / 1_000 }
}

function report(name: string, timings: readonly Timing[]): void {
  const ms = timings.map((timing) => timing.ms)
  const cpu = median(timings.map((timing) => timing.cpuMs))
  console.log(`  ${name}  ${seconds(median(ms))} (${spread(ms)}), processor ${seconds(cpu)}`)
}

/** Median of the pairs: what disturbs one of two neighbours mostly disturbs the other. */
const speed = (loop: readonly Timing[], source: readonly Timing[], of: (timing: Timing) => number): string =>
  median(loop.map((timing, i) => of(timing) / of(source[i] as Timing))).toFixed(2)

async function measure(url: string): Promise<void> {
  const loop: Timing[] = []
  const source: Timing[] = []
  await timed(() => throughSource(url))
  await timed(() => bare(url))
  for (let run = 0; run < runs; run++) {
    loop.push(await timed(() => bare(url)))
    source.push(await timed(() => throughSource(url)))
  }
  console.log(`${pages} pages of ${items} items, medians of ${runs}:`)
  report("bare loop", loop)
  report("rest(…)  ", source)
  console.log(`  speed      ${speed(loop, source, ({ ms }) => ms)} × the bare loop (goal: 0.8)`)
  console.log(`  processor  ${speed(loop, source, ({ cpuMs }) => cpuMs)} × as sparing as the bare loop`)
}

if (values.serve) serve()
else {
  const server = fork(fileURLToPath(import.meta.url), ["--serve", "--pages", String(pages), "--items", String(items)])
  const port = await new Promise<number>((resolve) => server.once("message", (message) => resolve(Number(message))))
  try {
    await measure(`http://127.0.0.1:${port}`)
  } finally {
    server.kill()
  }
}
