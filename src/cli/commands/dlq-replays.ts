import type { Command } from "commander"
import { figure } from "../../observability/wording.ts"
import type { ReplayRow } from "../../ledger/replays.ts"
import { withExistingDatabase } from "../database.ts"
import type { CommandContext, Host } from "../host.ts"
import { countOption } from "../letter-options.ts"
import type { Outcome } from "../output.ts"
import { locateFolder } from "../project.ts"
import { columns, cut } from "../table.ts"

const MOST_LISTED = 10_000
const WIDEST_SELECTION = 60

/** `dlq replays`, below the command `dlq`. */
export function dlqReplaysCommand(program: Command, context: CommandContext): void {
  program.commands
    .find((command) => command.name() === "dlq")
    ?.command("replays")
    .description("list replays, latest first: who, when, which letters, with what patch, and how they ended")
    .option("--limit <n>", "at most so many", "20")
    .addHelpText("after", "\nExamples:\n  spillway dlq replays\n  spillway dlq replays --limit 1 --json | jq .data")
    .action((options: { limit: string }) => context.act((host) => listReplays(host, options.limit)))
}

async function listReplays(host: Host, most: string): Promise<Outcome> {
  const limit = countOption("--limit", most, MOST_LISTED, 1)
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const { readReplays } = await import("../../ledger/replays.ts")
  const replays = (await withExistingDatabase(host, directory, (session) => readReplays(session, limit))) ?? []
  if (replays.length === 0) host.output.note("nothing was replayed yet")
  return {
    data: replays.map(
      ({ replay_id, pipeline_name, requested_by, started_at, finished_at, error_code, error_message, ...rest }) => ({
        replayId: replay_id,
        pipeline: pipeline_name,
        requestedBy: requested_by,
        startedAt: started_at,
        finishedAt: finished_at,
        error: error_code === null ? null : { code: error_code, message: error_message },
        ...rest,
      }),
    ),
    text: columns(replays.map(replayLine)).join("\n"),
  }
}

function replayLine(replay: ReplayRow): string[] {
  const { replay_id, started_at, requested_by, pipeline_name, status, outcomes, forced } = replay
  const ends = Object.entries(outcomes).map(([outcome, letters]) => `${figure(letters)} ${outcome}`)
  return [
    started_at.toISOString().slice(0, 16).replace("T", " "),
    requested_by,
    pipeline_name,
    forced ? `${status} (forced)` : status,
    ends.join(", ") || "none",
    cut(chosenBy(replay), WIDEST_SELECTION),
    replay_id,
  ]
}

/** `group v1:3f2a, patched` */
function chosenBy({ selection, patch }: ReplayRow): string {
  const given =
    typeof selection === "object" && selection !== null && !Array.isArray(selection) ? Object.entries(selection) : []
  const parts = given
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
  return [...(parts.length === 0 ? ["all"] : parts), ...(patch === null ? [] : ["patched"])].join(", ")
}
