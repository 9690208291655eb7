// The API that the example reads, within the process of the command that needs it; or by itself, for several commands:
//   node examples/analytics-api/server.ts
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { startServer, type AnalyticsServer } from "./api-server.ts"

const PORT = Number(process.env["ANALYTICS_PORT"] ?? 4518)
const TOKEN = "token-of-the-example"
const ADDRESS = `http://127.0.0.1:${PORT}`
/** Events there are when the server starts for the first time; and milliseconds between two, then and from then on. */
const HISTORY = 20_000
const INTERVAL = 30_000
/** With this one no day of the history, however it is cut, has many bad events, nor has the first hour after it. */
const SEED = 2

export interface AnalyticsApi {
  readonly url: string
  /** ISO 8601: no event is older. */
  readonly since: string
}

/**
 * The API to read: that of `ANALYTICS_URL` (with events since `ANALYTICS_SINCE`, and `ANALYTICS_TOKEN`), or else a server that is started here and ends
 * with the process. While another command has it running, that one is used.
 */
export async function analyticsApi(): Promise<AnalyticsApi> {
  const url = process.env["ANALYTICS_URL"]
  if (url !== undefined) return { url, since: process.env["ANALYTICS_SINCE"] ?? "2026-01-01T00:00:00Z" }
  process.env["ANALYTICS_TOKEN"] = TOKEN
  const start = await firstEvent()
  try {
    const server = await serve(start)
    server.unref()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || !(await isRunning())) throw error
  }
  return { url: ADDRESS, since: new Date(start).toISOString() }
}

const serve = (start: number): Promise<AnalyticsServer> =>
  startServer({ port: PORT, token: TOKEN, seed: SEED, start, interval: INTERVAL })

async function isRunning(): Promise<boolean> {
  const headers = { authorization: `Bearer ${TOKEN}` }
  return (await fetch(`${ADDRESS}/admin/counts`, { headers })).ok
}

/** When the history begins, in milliseconds since 1970. Kept below `.spillway`, so that every command finds the same events. */
async function firstEvent(): Promise<number> {
  const folder = fileURLToPath(new URL("./.spillway", import.meta.url))
  const path = `${folder}/first-event`
  await mkdir(folder, { recursive: true })
  const time = new Date(Date.now() - HISTORY * INTERVAL)
  await writeFile(path, time.toISOString(), { flag: "wx" }).catch(() => undefined)
  return Date.parse(await readFile(path, "utf8"))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve(await firstEvent())
  process.stdout.write(`listening on ${url}; the token is ${TOKEN}\n`)
}
