import { resolve } from "node:path"
import type { Command } from "commander"
import { describeLetter } from "../../dead-letters/described-letter.ts"
import { envelope } from "../../dead-letters/envelope.ts"
import type { Masking } from "../../dead-letters/masking.ts"
import type { Selection } from "../../dead-letters/selection.ts"
import { visible } from "../../dead-letters/visible.ts"
import type { StoredLetter } from "../../ledger/dead-letter-rows.ts"
import type { LetterCondition } from "../../ledger/dead-letter-triage.ts"
import type { Session } from "../../postgres/session.ts"
import { figure, plural } from "../../observability/wording.ts"
import { withDatabase, withExistingDatabase } from "../database.ts"
import { notFound, usageError } from "../errors.ts"
import { exitCodes } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import {
  countOption,
  maskingOf,
  selectionOf,
  withLetterOptions,
  withReveal,
  type LetterOptions,
} from "../letter-options.ts"
import type { Outcome } from "../output.ts"
import { standardInput } from "../standard-input.ts"
import { locateFolder } from "../project.ts"
import { columns, cut } from "../table.ts"
import { sampleDetail } from "../triage-text.ts"

interface DiscardOptions extends LetterOptions {
  readonly ids?: string
  readonly reason: string
  readonly yes?: boolean
}

const MOST_LISTED = 10_000

/** `dlq list|show|discard|import`, below the command `dlq`. */
export function dlqLettersCommands(program: Command, context: CommandContext): void {
  const dlq = program.commands.find((command) => command.name() === "dlq")
  if (dlq === undefined) return
  withReveal(withLetterOptions(dlq.command("list")))
    .description("list dead letters, newest first; open ones unless --filter names a status")
    .option("--limit <n>", "at most so many", "50")
    .addHelpText(
      "after",
      "\nExamples:\n  spillway dlq list --filter 'code = DECODE'\n  spillway dlq list --group v1:3f2a --since 1d --json",
    )
    .action((options: LetterOptions & { limit: string }) => context.act((host) => listLetters(host, options)))
  withReveal(dlq.command("show"))
    .description("show dead letters whole: what was expected, what came, and the original text")
    .argument("<id...>", "ids of letters")
    .addHelpText("after", "\nExamples:\n  spillway dlq show dl_8c1f…\n  spillway dlq show dl_8c1f… --reveal password")
    .action((ids: string[], options: LetterOptions) => context.act((host) => showLetters(host, ids, options)))
  withLetterOptions(dlq.command("discard"))
    .description("give open letters up, with a reason; without --yes it only says what it would do")
    .option("--ids <ids>", "only these letters, with commas between")
    .requiredOption("--reason <text>", "why nobody needs them")
    .option("--yes", "do it")
    .addHelpText("after", "\nExamples:\n  spillway dlq discard --group v1:3f2a --reason 'test orders' --yes")
    .action((options: DiscardOptions) => context.act((host) => discard(host, options)))
  dlq
    .command("import")
    .description(
      "add the letters of a JSONL file or a folder of JSON files to the database, those without a status as pending",
    )
    .argument("<file>", "a JSONL file, a folder, or - for stdin")
    .requiredOption("--pipeline <name>", "the pipeline they belong to")
    .addHelpText("after", "\nExamples:\n  spillway dlq import bad.jsonl --pipeline orders")
    .action((file: string, options: { pipeline: string }) =>
      context.act((host) => importFile(host, file, options.pipeline)),
    )
}

/** Runs `body` with what the options choose. Throws `CONFIG` (not found) where nothing has run yet. */
async function withChosen<T>(
  host: Host,
  options: LetterOptions,
  body: (session: Session, selection: Selection | undefined) => Promise<T>,
): Promise<T> {
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const done = await withExistingDatabase(host, directory, async (session) => {
    const { groupNamed, lookAtGroups } = await import("../../dead-letters/groups.ts")
    const fingerprint =
      options.group === undefined ? undefined : groupNamed(options.group, [...(await lookAtGroups(session)).keys()])
    return { result: await body(session, selectionOf(options, fingerprint, host.ports.clock.now())) }
  })
  if (done === undefined)
    throw notFound("nothing has run yet: there are no dead letters", {
      where: directory,
      hint: "begin with: spillway run",
    })
  return done.result
}

async function listLetters(host: Host, options: LetterOptions & { limit: string }): Promise<Outcome> {
  const limit = countOption("--limit", options.limit, MOST_LISTED, 1)
  const { letters, style } = await withChosen(host, options, async (session, selection) => {
    const { readLetters } = await import("../../ledger/dead-letter-rows.ts")
    const letters = await readLetters(session, await conditionOf(selection), limit)
    return { letters, style: await styleOf(session, options) }
  })
  if (letters.length === 0) host.output.note("no dead letter passes this filter")
  if (letters.length === limit) host.output.note(`only the newest ${figure(limit)} are listed; --limit gives more`)
  return {
    data: letters.map((letter) => letterData(letter, style)),
    text: columns(letters.map((letter) => letterRow(letter, style, host.output.width))).join("\n"),
  }
}

async function conditionOf(selection: Selection | undefined): Promise<LetterCondition> {
  const { conditionFor } = await import("../../dead-letters/triage-database.ts")
  return conditionFor(selection)
}

/** What of letters is masked. */
interface Style {
  readonly masking: Masking
  readonly secrets: ReadonlyMap<string, readonly string[]>
}

async function styleOf(session: Session, options: LetterOptions): Promise<Style> {
  const { readSecretFields } = await import("../../ledger/secret-fields.ts")
  return { masking: maskingOf(options), secrets: await readSecretFields(session) }
}

function letterData(letter: StoredLetter, style: Style): unknown {
  const { id, time, code, message, place, record, raw, rawEncoding, difference } = described(letter, style)
  return {
    ...{ id, time, code, message, place, record, difference },
    raw: raw ?? null,
    rawEncoding: rawEncoding ?? null,
    fingerprint: letter.fingerprint,
    pipeline: letter.pipeline_name,
    runId: letter.run_id,
    step: letter.step,
    attempts: letter.attempts,
    status: letter.status,
    statusReason: letter.status_reason,
    lastSeen: letter.last_seen,
  }
}

const described = (letter: StoredLetter, { masking, secrets }: Style): ReturnType<typeof describeLetter> =>
  describeLetter(envelope(letter, secrets.get(letter.pipeline_name)), masking)

function letterRow(letter: StoredLetter, style: Style, width: number): string[] {
  const { id, code, message, place } = described(letter, style)
  const time = letter.last_seen.toISOString().slice(0, 16).replace("T", " ")
  return [id, time, letter.status, code, cut(visible(place), 40), cut(visible(message), Math.max(30, width - 60))]
}

async function showLetters(host: Host, ids: readonly string[], options: LetterOptions): Promise<Outcome> {
  const wanted: Selection = { kind: "is", word: "id", values: ids }
  const { letters, style } = await withChosen(host, options, async (session) => {
    const { readLetters } = await import("../../ledger/dead-letter-rows.ts")
    const letters = await readLetters(session, await conditionOf(wanted), ids.length)
    return { letters, style: await styleOf(session, options) }
  })
  const missing = ids.filter((id) => !letters.some((letter) => letter.id === id))
  if (missing.length > 0)
    throw notFound(`there is no dead letter ${missing.join(", ")}`, { hint: "spillway dlq list shows their ids" })
  return {
    data: letters.map((letter) => letterData(letter, style)),
    text: letters.map((letter) => letterText(host, letter, style)).join("\n\n"),
  }
}

function letterText(host: Host, letter: StoredLetter, style: Style): string {
  const { colors, width } = host.output
  const facts = [
    ["pipeline", letter.pipeline_name],
    ["error", `${letter.error_code} in step ${letter.step}`],
    ["group", letter.fingerprint],
    ["run", letter.run_id],
    [
      "status",
      `${letter.status}${letter.status_reason === null ? "" : `: ${letter.status_reason}`}, attempts ${letter.attempts}`,
    ],
    ["seen", `first ${letter.first_seen.toISOString()}, last ${letter.last_seen.toISOString()}`],
  ].map(([name = "", value = ""]) => [colors.dim(name), visible(value)])
  const [, ...detail] = sampleDetail(described(letter, style), colors, Math.max(width, 200))
  return [...columns(facts), ...detail.map((line) => line.replace(/^ {4}/, ""))].join("\n")
}

async function discard(host: Host, options: DiscardOptions): Promise<Outcome> {
  const reason = options.reason.trim()
  if (reason === "") throw usageError("--reason is empty", "say why nobody needs these records")
  const ids = options.ids?.split(",").map((id) => id.trim())
  if (ids === undefined && options.group === undefined && options.filter === undefined && options.since === undefined)
    throw usageError("nothing is chosen", "name letters: --ids, --group, --filter or --since")
  return withChosen(host, options, async (session, chosen) => {
    const { allOf } = await import("../../dead-letters/selection.ts")
    const selection = allOf([chosen, ids === undefined ? undefined : { kind: "is", word: "id", values: ids }])
    return discardChosen(host, session, await openCondition(selection), { ...options, reason })
  })
}

/** Only letters that nobody has dealt with can be discarded, whatever the filter says. */
async function openCondition(selection: Selection | undefined): Promise<LetterCondition> {
  const { sql, values } = await conditionOf(selection)
  return { sql: `(${sql}) AND d.status IN ('pending', 'poisoned')`, values }
}

async function discardChosen(
  host: Host,
  session: Session,
  where: LetterCondition,
  options: DiscardOptions,
): Promise<Outcome> {
  const { countLetters, discardLetters } = await import("../../ledger/dead-letter-rows.ts")
  const plan = await countLetters(session, where)
  const letters = plan.reduce((sum, row) => sum + row.letters, 0)
  if (letters === 0)
    throw notFound("no open letter is chosen", { hint: "spillway dlq list shows what a filter chooses" })
  if (options.yes !== true) {
    const rows = plan.map((row) => [figure(row.letters), row.status, row.code, row.fingerprint])
    host.output.note("nothing was changed: --yes does it")
    return {
      data: { letters, discarded: 0, plan },
      text: [
        `${plural(letters, "letter")} would be discarded: ${options.reason}`,
        ...columns(rows, { indent: "  ", right: [0] }),
      ].join("\n"),
      exitCode: exitCodes.ok,
    }
  }
  const discarded = await discardLetters(session, where, options.reason)
  const { lookAtGroups } = await import("../../dead-letters/groups.ts")
  await lookAtGroups(session)
  return { data: { letters, discarded, plan }, text: `${plural(discarded, "letter")} discarded: ${options.reason}` }
}

async function importFile(host: Host, file: string, pipeline: string): Promise<Outcome> {
  const { importLetters } = await import("../../dead-letters/import.ts")
  const { files, clock } = host.ports
  const directory = await locateFolder(host.projectOption, host.directory, files)
  const path = file === "-" ? file : resolve(host.directory, file)
  const outcome = await withDatabase(host, directory, (session) =>
    importLetters(session, { files, path, stdin: standardInput(), pipeline, now: clock.now() }),
  )
  const { read, added, known, unread, unreadCount } = outcome
  for (const { where, reason } of unread) host.output.warn(`${visible(where)}: ${reason}`)
  if (unreadCount > unread.length) host.output.warn(`… and ${figure(unreadCount - unread.length)} more not readable`)
  const text = `${plural(read, "letter")} read, ${figure(added)} added, ${figure(known)} known already`
  return {
    data: { read, added, known, unread: unreadCount, unreadSamples: unread },
    text: unreadCount === 0 ? text : `${text}, ${figure(unreadCount)} not readable`,
  }
}
