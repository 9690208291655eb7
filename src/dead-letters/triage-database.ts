import { readSamples } from "../ledger/dead-letter-rows.ts"
import { sumLetters, type LetterSums } from "../ledger/dead-letter-triage.ts"
import { readSecretFields } from "../ledger/secret-fields.ts"
import type { Session } from "../postgres/session.ts"
import { describeLetter } from "./described-letter.ts"
import { envelope } from "./envelope.ts"
import { lookAtGroups, type Group } from "./groups.ts"
import type { Masking } from "./masking.ts"
import { allOf, namesStatus, toCondition, type Condition, type Selection } from "./selection.ts"
import { TREND_COLUMNS } from "./timeline.ts"
import { mostFirst, type GroupTally, type Tallied, type TriageReport } from "./triage-report.ts"

export interface DatabaseTriage {
  readonly report: TriageReport
  /** The states of the groups, by fingerprint. */
  readonly groups: ReadonlyMap<string, Group>
}

const OPEN: Selection = { kind: "is", word: "status", values: ["pending", "poisoned"] }

/** A selection as a condition from $1 on; where it says nothing of status or id, it means open letters: pending or poisoned. */
export function conditionFor(selection: Selection | undefined): Condition {
  const chosen = selection !== undefined && namesStatus(selection) ? selection : allOf([selection, OPEN])
  return toCondition(chosen ?? OPEN)
}

/** Sums up the letters of the database, and brings the states of their groups up to date. */
export async function triageDatabase(
  session: Session,
  options: {
    readonly selection: Selection | undefined
    readonly samples: number
    readonly groups: number
    readonly masking: Masking
  },
): Promise<DatabaseTriage> {
  const groups = await lookAtGroups(session)
  const where = conditionFor(options.selection)
  const sums = await sumLetters(session, where, { groups: options.groups, slices: TREND_COLUMNS })
  const names = sums.groups.map((group) => group.fingerprint)
  const samples = options.samples > 0 ? await readSamples(session, where, names, options.samples) : []
  const byGroup = Map.groupBy(samples, (letter) => letter.fingerprint)
  const secrets = await readSecretFields(session)
  const sampled = (fingerprint: string): GroupTally["samples"] =>
    (byGroup.get(fingerprint) ?? []).map((letter) =>
      describeLetter(envelope(letter, secrets.get(letter.pipeline_name)), options.masking),
    )
  return { report: reportOf(sums, sampled), groups }
}

function reportOf(sums: LetterSums, sampled: (fingerprint: string) => GroupTally["samples"]): TriageReport {
  const named = (kind: LetterSums["names"][number]["kind"]): Tallied[] =>
    mostFirst(
      sums.names.filter((row) => row.kind === kind && row.name !== "").map(({ name, letters }) => ({ name, letters })),
      (row) => row.name,
    )
  return {
    letters: sums.letters,
    from: sums.from?.getTime(),
    to: sums.to?.getTime(),
    trend: trendOf(sums.slices),
    byCode: named("code"),
    byField: mostFirst(sums.fields, (row) => `${row.field}\0${row.rule}`),
    byPipeline: named("pipeline"),
    byStatus: named("status"),
    bySource: named("source"),
    groups: sums.groups.map((group) => ({
      ...group,
      firstSeen: group.firstSeen.getTime(),
      lastSeen: group.lastSeen.getTime(),
      trend: trendOf(sums.slices.filter((slice) => slice.fingerprint === group.fingerprint)),
      samples: sampled(group.fingerprint),
    })),
    groupCount: sums.groupCount,
    ungrouped: 0,
    unread: 0,
    unreadSamples: [],
  }
}

function trendOf(slices: LetterSums["slices"]): number[] {
  const columns = new Array<number>(TREND_COLUMNS).fill(0)
  for (const { slice, letters } of slices) columns[slice] = (columns[slice] ?? 0) + letters
  return columns
}
