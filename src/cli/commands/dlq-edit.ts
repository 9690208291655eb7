import { isUtf8 } from "node:buffer"
import type { Command } from "commander"
import type { Fix, Patch } from "../../dead-letters/patch.ts"
import type { Selection } from "../../dead-letters/selection.ts"
import { toCondition } from "../../dead-letters/selection.ts"
import type { Pipeline } from "../../engine/definition.ts"
import type { ReplayOptions } from "../../engine/replay/replay.ts"
import type { StoredLetter } from "../../ledger/dead-letter-rows.ts"
import { confirm } from "../confirm.ts"
import { inSession } from "../database.ts"
import { edited } from "../editor.ts"
import { notFound, usageError } from "../errors.ts"
import { exitCodes } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import type { Outcome } from "../output.ts"
import { loadProject } from "../project.ts"
import { exitCodeOfReplay, operatingSystemUser, pipelinesOf } from "../replaying.ts"
import { replayReportText } from "../replay-text.ts"

const COMMENT = "// "

/** `dlq edit`, below the command `dlq`. */
export function dlqEditCommand(program: Command, context: CommandContext): void {
  program.commands
    .find((command) => command.name() === "dlq")
    ?.command("edit")
    .description(
      "open a dead letter's record in $EDITOR with what is wrong with it, check what you saved, and replay it",
    )
    .argument("<id>", "the letter's id")
    .option("--yes", "replay it without asking when it passes")
    .addHelpText(
      "after",
      "\nExamples:\n  spillway dlq edit dl_8c1f…\n  EDITOR='code --wait' spillway dlq edit dl_8c1f…",
    )
    .action((id: string, options: { yes?: boolean }) => context.act((host) => edit(host, id, options.yes === true)))
}

async function edit(host: Host, id: string, yes: boolean): Promise<Outcome> {
  const loaded = await loadProject(host.projectOption, {
    directory: host.directory,
    env: host.env,
    files: host.ports.files,
  })
  const { openDatabase } = await import("../../engine/database.ts")
  const database = await openDatabase({ directory: loaded.directory, env: host.env })
  const where: Selection = { kind: "is", word: "id", values: [id] }
  const { readLetters } = await import("../../ledger/dead-letter-rows.ts")
  const [letter] = await inSession(database, (session) => readLetters(session, toCondition(where), 1))
  if (letter === undefined)
    throw notFound(`there is no dead letter ${id}`, { hint: "spillway dlq list shows their ids" })
  if (!["pending", "poisoned"].includes(letter.status))
    throw usageError(`the letter is ${letter.status}: nothing is left to mend`, `spillway dlq show ${id} tells more`)
  const [pipeline] = pipelinesOf(loaded, letter.pipeline_name)
  const asked = { database, directory: loaded.directory, ports: host.ports, where, poisoned: true }
  const { planReplay } = await import("../../engine/replay/replay-plan.ts")
  let errors = letter.error_msg.split("; ")
  let text = textOf(letter)
  for (;;) {
    const saved = withoutComments(await edited(commented(letter, errors, text), nameOf(letter), host.env))
    if (saved.trim() === text.trim() && errors.join("; ") === letter.error_msg)
      return { data: { id, replay: null }, text: "nothing was changed" }
    text = saved
    const patch = patchOf(letter, saved)
    const { pass, filtered, reasons } = await planReplay(pipeline as Pipeline, { ...asked, patch })
    if (pass + filtered > 0) return replayIt(host, pipeline as Pipeline, { ...asked, patch }, yes)
    errors = reasons.map(({ reason }) => reason)
    for (const error of errors) host.output.note(`${host.output.stderrColors.red("✗")} ${error}`)
    if (yes || !(await confirm(host, "it would still fail; edit it again?")))
      return { data: { id, replay: null, errors }, text: "nothing was replayed", exitCode: exitCodes.failure }
  }
}

async function replayIt(
  host: Host,
  pipeline: Pipeline,
  asked: Omit<ReplayOptions, "requestedBy">,
  yes: boolean,
): Promise<Outcome> {
  if (!yes && !(await confirm(host, "it passes now; replay it?")))
    return { data: { replay: null }, text: "nothing was replayed" }
  const { replayLetters } = await import("../../engine/replay/replay.ts")
  const report = await replayLetters(pipeline, { ...asked, requestedBy: operatingSystemUser() })
  return {
    data: { replay: report },
    text: replayReportText(report, host.output.colors),
    exitCode: exitCodeOfReplay(report),
    error: report.error,
  }
}

const nameOf = (letter: StoredLetter): string => `${letter.id}.${letter.record === null ? "txt" : "jsonc"}`

/** The record as JSON, or the original text of what could not be decoded. */
function textOf({ record, raw }: StoredLetter): string {
  if (record !== null && record !== undefined) return `${JSON.stringify(record, undefined, 2)}\n`
  if (isUtf8(raw)) return `${raw.toString()}\n`
  throw usageError(
    "the record is not text (its bytes are not UTF-8)",
    "mend it with a function: replay-dlq --patch fix.ts#fix",
  )
}

function commented(letter: StoredLetter, errors: readonly string[], text: string): string {
  const source = Object.entries(letter.source).map(([name, value]) => `${name} ${String(value)}`)
  const lines = [
    `${letter.pipeline_name}, ${source.join(", ")}`,
    ...errors,
    "",
    "Save and leave to check it; leave without a change to give up.",
  ]
  return lines.map((line) => `${COMMENT}${line}`.trimEnd() + "\n").join("") + text
}

/** What was saved, without the comments above it. */
const withoutComments = (text: string): string => text.replace(/^(?:\/\/[^\n]*\n)+/, "")

function patchOf(letter: StoredLetter, saved: string): Patch {
  if (letter.record === null || letter.record === undefined) {
    const line = saved.replace(/\r?\n$/, "")
    return { fix: () => line, description: { edited: line } }
  }
  const fix: Fix = () => {
    const record: unknown = JSON.parse(saved)
    return record
  }
  return { fix, description: { edited: saved } }
}
