import type { Command } from "commander"
import { errorCatalog, errorCodes, isErrorCode, type Explanation } from "../../core/error-catalog.ts"
import type { ErrorCode } from "../../core/errors.ts"
import { notFound } from "../errors.ts"
import type { CommandContext, Host } from "../host.ts"
import { suggestion } from "../nearest.ts"
import type { Outcome, Output } from "../output.ts"
import { columns, wrap } from "../table.ts"

export function explainCommand(program: Command, context: CommandContext): void {
  program
    .command("explain")
    .description("say what an error code means, what the engine does about it, and what you can do")
    .argument("[code]", "such as QUALITY_GATE; without one, all codes are listed")
    .addHelpText("after", "\nExamples:\n  spillway explain\n  spillway explain lease_held")
    .action((code: string | undefined) => context.act((host) => Promise.resolve(explain(host, code))))
}

function explain(host: Host, given: string | undefined): Outcome {
  const { colors } = host.output
  if (given === undefined) {
    const rows = errorCodes.map((code) => [colors.bold(code), errorCatalog[code].title])
    return {
      data: errorCodes.map((code) => ({ code, title: errorCatalog[code].title })),
      text: columns(rows).join("\n"),
    }
  }
  const code = given.toUpperCase().replaceAll("-", "_")
  if (!isErrorCode(code))
    throw notFound(`there is no error code "${given}"`, {
      hint: suggestion(code, errorCodes, "all codes: spillway explain"),
    })
  const explanation = errorCatalog[code]
  return { data: { code, ...explanation }, text: explanationText(code, explanation, host.output) }
}

/** Lines longer than this are hard to read, however wide the terminal is. */
const WIDEST = 96

function explanationText(code: ErrorCode, explanation: Explanation, output: Output): string {
  const { colors, width } = output
  const parts: [string, string][] = [
    ["What happened", explanation.meaning],
    ["What Spillway does", explanation.engine],
    ["What you can do", explanation.action],
  ]
  const blocks = parts.map(([title, text]) => [
    "",
    colors.cyan(title),
    ...wrap(text, Math.min(width, WIDEST) - 2).map((line) => `  ${line}`),
  ])
  return [`${colors.bold(code)}: ${explanation.title}`, ...blocks.flat()].join("\n")
}
