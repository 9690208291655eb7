/**
 * The rules for malformed CSV once more, over text and with regular expressions, slow and simple: what the decoder is
 * compared with. Knows neither chunks nor batches nor limits of length.
 */

const FIELD = { quoted: /"((?:[^"]|"")*)"(?!")/y, unquoted: /[^,\n]*/y }

interface Parsed {
  readonly fields: (string | null)[]
  readonly end: number
}

interface Violation {
  readonly rule: string
  readonly at: number
}

export interface ReferenceRecord {
  readonly line: number
  readonly offset: number
  /** `!rule`, or the values. */
  readonly value: string | (string | null)[]
}

export function referenceRecords(text: string, width: number): ReferenceRecord[] {
  const records: ReferenceRecord[] = []
  let at = 0
  let strictUntil = 0
  while (at < text.length) {
    const blank = /\r?\n|\r$/y
    blank.lastIndex = at
    const skipped = blank.exec(text)
    if (skipped) {
      at += skipped[0].length
      continue
    }
    const line = text.slice(0, at).split("\n").length
    const lineEnd = text.indexOf("\n", at) < 0 ? text.length : text.indexOf("\n", at)
    const parsed = parse(text, at, at < strictUntil)
    const add = (value: ReferenceRecord["value"]): void => void records.push({ line, offset: at, value })
    if ("rule" in parsed) {
      const first = parsed.at <= lineEnd
      add(`!${first ? parsed.rule : "unclosed_quote"}`)
      strictUntil = Math.max(strictUntil, parsed.at, lineEnd + 2)
      at = lineEnd + 1
    } else if (parsed.fields.length === width) {
      add(parsed.fields)
      at = parsed.end
    } else if (standAlone(text.slice(lineEnd + 1, parsed.end), width)) {
      add("!unclosed_quote")
      at = lineEnd + 1
    } else {
      add("!column_count")
      at = parsed.end
    }
  }
  return records
}

function standAlone(rest: string, width: number): boolean {
  const lines = rest.split("\n").map((line) => line.replace(/\r$/, ""))
  const full = lines.filter((line) => line !== "")
  return (
    full.length > 0 &&
    full.every((line) => {
      const parsed = parse(line, 0, true)
      return !("rule" in parsed) && parsed.fields.length === width
    })
  )
}

function parse(text: string, start: number, strict: boolean): Parsed | Violation {
  const fields: (string | null)[] = []
  for (let at = start; ; at++) {
    if (text[at] === '"') {
      FIELD.quoted.lastIndex = at
      const match = FIELD.quoted.exec(text)
      if (!match) return { rule: "unclosed_quote", at: text.length }
      fields.push((match[1] as string).replaceAll('""', '"') || null)
      at += match[0].length
      if (/^\r(\n|$)/.test(text.slice(at, at + 2))) at++
      if (at < text.length && text[at] !== "," && text[at] !== "\n") {
        const back = text[at - 1] === "\r" ? 1 : 0
        return { rule: "text_after_quote", at: at - back }
      }
    } else {
      FIELD.unquoted.lastIndex = at
      const value = (FIELD.unquoted.exec(text) as RegExpExecArray)[0]
      const bare = value.indexOf('"')
      if (strict && bare >= 0) return { rule: "bare_quote", at: at + bare }
      at += value.length
      fields.push((text[at] === "," ? value : value.replace(/\r$/, "")) || null)
    }
    if (text[at] !== ",") return { fields, end: Math.min(at + 1, text.length) }
  }
}
