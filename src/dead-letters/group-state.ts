import type { GroupEvidence, GroupState } from "../ledger/dead-letter-groups.ts"

/** A group is new for so long. */
const NEW_MS = 24 * 3_600_000
/** An hour escalates a group from so many letters on, and from so many times the mean of the hours of the day before. */
const ESCALATING_LEAST = 20
const ESCALATING_FACTOR = 3
/** An escalating group is calm again below so many times that mean: less than what escalates it, so that it does not flicker. */
const CALM_FACTOR = 1.5
const BASELINE_HOURS = 24
/** A group younger than this has no hours to compare with. */
const BASELINE_FROM_MS = 3_600_000

/**
 * The state that a group is in by its evidence.
 *
 *     (unknown) ─▶ new ─24 h─▶ ongoing ◀─calm─ escalating
 *                   │             ▲  └─▶ faster ──▲
 *                   │             │ 24 h
 *                   │         regressed ◀─ a letter is seen again ─ resolved
 *                   └──────▶ no open letter, or somebody said so ──────▲
 *
 * - open means `new`, `ongoing`, `escalating`, `regressed`. From each of them: no open letter is left: `resolved`; far more letters
 *   in the last hour than in the hours before: `escalating`.
 * - `resolved`: an open letter seen since makes it `regressed`. What was open when somebody resolved it does not.
 * - `suppressed`: nothing changes it until its time is over. Then it is `ongoing` where letters are open, otherwise `resolved`.
 * - A group that is not known yet begins as `new`, and goes on from there at once.
 */
export function nextState(evidence: GroupEvidence): GroupState {
  const { state, now, open, fresh, suppressedUntil } = evidence
  if (state === "suppressed") {
    if (suppressedUntil !== undefined && suppressedUntil > now) return "suppressed"
    return open > 0 ? "ongoing" : "resolved"
  }
  if (open === 0) return "resolved"
  if (state === "resolved") return fresh > 0 ? "regressed" : "resolved"
  return openState(state ?? "new", evidence)
}

function openState(state: "new" | "ongoing" | "escalating" | "regressed", evidence: GroupEvidence): GroupState {
  const { now, since, firstSeen } = evidence
  if (isEscalating(state, evidence)) return "escalating"
  if (state === "new") return now.getTime() - firstSeen.getTime() < NEW_MS ? "new" : "ongoing"
  if (state === "regressed") return now.getTime() - since.getTime() < NEW_MS ? "regressed" : "ongoing"
  return "ongoing"
}

function isEscalating(state: GroupState, { now, firstSeen, lastHour, dayBefore }: GroupEvidence): boolean {
  if (now.getTime() - firstSeen.getTime() < BASELINE_FROM_MS || lastHour < ESCALATING_LEAST) return false
  const usual = dayBefore / BASELINE_HOURS
  return lastHour >= usual * (state === "escalating" ? CALM_FACTOR : ESCALATING_FACTOR)
}
