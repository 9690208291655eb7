import type { Command } from "commander"
import { logLevels, readLogs, type LogFilter, type LogLevel, type StoredLogLine } from "../../ledger/logs.ts"
import { withExistingDatabase } from "../database.ts"
import { usageError } from "../errors.ts"
import type { CommandContext, Host } from "../host.ts"
import { logFields, logText } from "../log-text.ts"
import { suggestion } from "../nearest.ts"
import type { Outcome } from "../output.ts"
import { locateFolder } from "../project.ts"
import { sinceDate } from "../since.ts"

interface LogOptions {
  runId?: string
  correlationId?: string
  pipeline?: string
  level?: string
  since?: string
  limit: string
  follow?: boolean
}

const FOLLOW_EVERY_MS = 1_000

export function logsCommand(program: Command, context: CommandContext): void {
  program
    .command("logs")
    .description("show the log that runs keep in the database, oldest first")
    .option("--run-id <id>", "only of this run")
    .option("--correlation-id <id>", "only of the runs that were started together under this id")
    .option("--pipeline <name>", "only of this pipeline")
    .option("--level <level>", `this level and above: ${logLevels.join(", ")}`)
    .option("--since <when>", "30s, 15m, 1h, 7d, or a date or time")
    .option("--limit <n>", "the newest so many lines", "100")
    .option("--follow", "go on with new lines as they come, until Ctrl-C")
    .addHelpText(
      "after",
      "\nExamples:\n  spillway logs --level WARNING --since 1d\n  spillway logs --follow\n  spillway logs --json --limit 1000 | jq '.data[].message'",
    )
    .action((options: LogOptions) => context.act((host) => logs(host, options)))
}

async function logs(host: Host, options: LogOptions): Promise<Outcome> {
  const filter = filterOf(options, host.ports.clock.now())
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const lines = await withExistingDatabase(host, directory, async (session) => {
    const found = await readLogs(session, filter)
    if (options.follow) await follow(host, found, (afterId) => readLogs(session, { ...filter, afterId, limit: 10_000 }))
    return found
  })
  if (lines === undefined) host.output.note("nothing has run yet; the first run writes the log: spillway run")
  else if (lines.length === 0) host.output.note("no line of the log passes this filter")
  if (options.follow) return { data: null }
  return {
    data: (lines ?? []).map(logFields),
    text: (lines ?? []).map((line) => logText(line, host.output.colors)).join("\n"),
  }
}

/** Never ends by itself: the reader leaves, or Ctrl-C. With `--json` every line is a JSON object of its own. */
async function follow(
  host: Host,
  first: readonly StoredLogLine[],
  next: (afterId: string) => Promise<StoredLogLine[]>,
): Promise<void> {
  const { output, ports } = host
  const show = (line: StoredLogLine): string =>
    output.json ? JSON.stringify(logFields(line)) : logText(line, output.colors)
  let lines = first
  let lastId = "0"
  while (!output.closed) {
    lastId = lines.at(-1)?.id ?? lastId
    await output.data(lines.map((line) => `${show(line)}\n`).join(""))
    await ports.clock.sleep(FOLLOW_EVERY_MS)
    lines = await next(lastId)
  }
}

function filterOf(options: LogOptions, now: number): LogFilter {
  const level = options.level?.toUpperCase()
  if (level !== undefined && !isLevel(level))
    throw usageError(
      `--level ${options.level} is not a level`,
      suggestion(level, logLevels, `it is one of ${logLevels.join(", ")}`),
    )
  const limit = Number(options.limit)
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000_000)
    throw usageError(`--limit ${options.limit} is not a number of lines`, "give a whole number from 1 to 1000000")
  return {
    runId: options.runId,
    correlationId: options.correlationId,
    pipeline: options.pipeline,
    level,
    since: options.since === undefined ? undefined : sinceDate(options.since, now),
    limit,
  }
}

const isLevel = (text: string): text is LogLevel => logLevels.includes(text as LogLevel)
