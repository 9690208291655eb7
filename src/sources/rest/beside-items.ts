/** Looked at, at the beginning and at the end. */
const LOOKED_AT_BYTES = 1_024

const TEXT = String.raw`"(?:[^"\\]|\\.)*"`
const MEMBER = String.raw`${TEXT}\s*:\s*(?:${TEXT}|[\w.+-]+|\{[^{}[\]]*\})`
const FIRST = new RegExp(String.raw`^\s*\{\s*((?:${MEMBER}\s*,\s*)+)`)
const LAST = new RegExp(String.raw`[\]}]\s*((?:,\s*${MEMBER}\s*)+)\}\s*$`)

/**
 * The members of a JSON object that stand before and behind its lists, without a look at the lists: text, numbers and such, and small objects
 * of them. Takes microseconds, and may miss some; the whole text, parsed, has the last word.
 */
export function besideItems(text: Buffer): Readonly<Record<string, unknown>> {
  const first = FIRST.exec(text.toString("utf8", 0, LOOKED_AT_BYTES))?.[1]
  const last = LAST.exec(text.toString("utf8", Math.max(0, text.length - LOOKED_AT_BYTES)))?.[1]
  return {
    ...(first === undefined ? undefined : parsed(first.slice(0, first.lastIndexOf(",")))),
    ...(last === undefined ? undefined : parsed(last.slice(1))),
  }
}

function parsed(members: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(`{${members}}`) as Readonly<Record<string, unknown>>
  } catch {
    return {}
  }
}
