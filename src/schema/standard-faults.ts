import type { Fault, RecordObject } from "../core/records.ts"
import { count, oneOf, toFault, typeWord, type Finding } from "./faults.ts"
import { shown, valueAt } from "../core/shown.ts"
import type { StandardIssue } from "./standard.ts"

/** An issue with whatever its vendor adds: zod and arktype give a `code`, valibot a `type`. */
type VendorIssue = StandardIssue & Readonly<Record<string, unknown>>

/** What the schema's own notes say is expected of a property, such as `a number ≥ 0`. */
export type ExpectedNotes = ReadonlyMap<string, string>

export function issueFaults(
  record: RecordObject,
  vendor: string,
  issues: readonly StandardIssue[],
  notes: ExpectedNotes,
): readonly Fault[] {
  return issues
    .flatMap((issue) => findings(record, vendor, issue as VendorIssue, notes))
    .map((finding) => toFault(record, finding))
}

const keysOf = (issue: StandardIssue): PropertyKey[] =>
  (issue.path ?? []).map((part) => (typeof part === "object" ? part.key : part))

function findings(record: RecordObject, vendor: string, issue: VendorIssue, notes: ExpectedNotes): readonly Finding[] {
  const path = keysOf(issue)
  const rule = text(issue.code) ?? text(issue.type)
  if (vendor !== "zod") return [{ path, rule, expected: expectedOf(issue), message: issue.message }]
  const ours = ownFinding(path, issue)
  if (ours !== undefined) return [ours]
  if (rule === "unrecognized_keys" && Array.isArray(issue.keys))
    return issue.keys.map((key: unknown) => ({ path: [...path, String(key)], rule, expected: "no such property" }))
  const note = path.length === 1 && rule === "invalid_type" ? notes.get(String(path[0])) : undefined
  if (note !== undefined) return [{ path, rule, expected: note }]
  if (isCustomMessage(issue.message) || rule === "custom") return [{ path, rule, message: issue.message }]
  return [{ path, rule, expected: zodExpected(issue, valueAt(record, path)), message: issue.message }]
}

/** What another library says is expected: a type's name, (arktype, of alternatives) a sentence around it, or (valibot) the missing key. */
function expectedOf({ expected, received, type }: VendorIssue): string | undefined {
  const said = text(expected)
  if (received === "undefined" && said?.startsWith('"') && String(type).endsWith("object")) return "a value"
  return said && typeWord(/ must be (.+) \(was .+\)$/.exec(said)?.[1] ?? said)
}

/** `decimal()` and `timestamp()` say rule and expectation themselves. */
function ownFinding(path: readonly PropertyKey[], issue: VendorIssue): Finding | undefined {
  const params = issue.params
  if (issue.code !== "custom" || typeof params !== "object" || params === null || !("spillway" in params))
    return undefined
  return { path, ...(params.spillway as { rule: string; expected: string }) }
}

/** zod's own English sentences; everything else was written by the schema's author and is kept. */
const isCustomMessage = (message: string): boolean => !/^(Invalid|Too (small|big)|Unrecognized)\b/.test(message)

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined)

function zodExpected(issue: VendorIssue, value: unknown): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return typeWord(String(issue.expected))
    case "too_small":
      return bound(issue, issue.inclusive === false ? ">" : "≥", "at least", issue.minimum)
    case "too_big":
      return bound(issue, issue.inclusive === false ? "<" : "≤", "at most", issue.maximum)
    case "invalid_value":
      return Array.isArray(issue.values) ? oneOf(issue.values.map(shown)) : undefined
    case "invalid_format":
      return issue.format === "regex"
        ? `text that matches ${String(issue.pattern)}`
        : `text in the format ${String(issue.format)}`
    case "not_multiple_of":
      return `a multiple of ${String(issue.divisor)}`
    case "invalid_union":
      return unionExpected(issue, value)
    default:
      return undefined
  }
}

function bound({ origin, exact }: VendorIssue, sign: string, words: string, limit: unknown): string {
  const amount = exact === true ? "exactly" : words
  switch (origin) {
    case "number":
    case "int":
    case "bigint":
      return `${origin === "number" ? "a number" : "an integer"} ${sign} ${String(limit)}`
    case "string":
      return `${amount} ${count(limit, "character")}`
    case "date":
      return `a date ${sign} ${new Date(Number(limit)).toISOString()}`
    default:
      return `${amount} ${count(limit, "item")}`
  }
}

/** What the alternatives expect of the value itself, joined with "or". */
function unionExpected(issue: VendorIssue, value: unknown): string | undefined {
  if (!Array.isArray(issue.errors)) return undefined
  const alternatives = (issue.errors as VendorIssue[][]).map((issues) =>
    issues.find((inner) => (inner.path ?? []).length === 0),
  )
  const expected = alternatives.map((inner) => (inner === undefined ? undefined : zodExpected(inner, value)))
  const told = expected.filter((word) => word !== undefined)
  return told.length > 0 && told.length === expected.length ? oneOf(told) : undefined
}
