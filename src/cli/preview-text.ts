import type { Colors } from "./colors.ts"
import { redact } from "../core/secrets.ts"
import type { PreviewRecord } from "../engine/preview.ts"
import { columns, cut } from "./table.ts"

/** One record through every step, side by side: a line per field, a column per step. */
export function previewText(record: PreviewRecord, colors: Colors, width: number): string {
  const { line, page, offset } = record.place
  const place = [
    line === undefined ? "" : `line ${line}`,
    page === undefined ? "" : `page ${page}`,
    line === undefined && offset !== undefined ? `offset ${offset}` : "",
  ]
  const lines = [colors.bold([record.partition, ...place.filter((text) => text !== "")].join(", "))]
  const raw = record.raw === undefined ? "*** (it has secret fields)" : printable(record.raw)
  lines.push(`  ${colors.dim("raw")}  ${cut(raw, Math.max(40, width - 8))}`)
  lines.push(...sideBySide(record, colors, width))
  for (const fault of record.faults)
    lines.push(
      `  ${colors.red(`◆ ${fault.code}`)} in ${fault.step}${fault.path ? `, ${fault.path}` : ""}: ${fault.message}`,
    )
  if (record.faults.length > 0) lines.push(`  ${colors.dim("it would become a dead letter")}`)
  else if (record.filtered) lines.push(`  ${colors.dim("filtered by the transform")}`)
  return redact(lines.join("\n"))
}

interface Step {
  readonly name: string
  readonly fields: Readonly<Record<string, unknown>>
}

function sideBySide(record: PreviewRecord, colors: Colors, width: number): string[] {
  const steps: Step[] = []
  const add = (name: string, value: unknown): void => {
    if (typeof value === "object" && value !== null) steps.push({ name, fields: value as Record<string, unknown> })
  }
  add("decoded", record.decoded)
  add("prepared", record.prepared)
  record.output.forEach((row, i) => add(record.output.length > 1 ? `row ${i + 1}` : "row", row))
  if (steps.length === 0) return []
  const fields = [...new Set(steps.flatMap((step) => Object.keys(step.fields)))]
  const room = Math.max(
    12,
    Math.floor((width - 4 - Math.max(...fields.map((field) => field.length), 0)) / steps.length) - 2,
  )
  const rows = fields.map((field) => [
    colors.dim(field),
    ...steps.map((step) =>
      Object.hasOwn(step.fields, field) ? cut(shown(step.fields[field]), room) : colors.dim("–"),
    ),
  ])
  return columns([["", ...steps.map((step) => colors.cyan(step.name))], ...rows], { indent: "  " })
}

/** Text in quotes, so that `"5"` and `5` are told apart. */
function shown(value: unknown): string {
  if (value === undefined) return "undefined"
  if (typeof value === "bigint") return value.toString()
  if (value instanceof Date) return value.toISOString()
  return JSON.stringify(value)
}

// What would move the cursor is shown as its symbol
const printable = (text: string): string =>
  text.replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
