import { SpillwayError } from "../core/errors.ts"
import {
  decideGroup,
  readGroups,
  writeGroupStates,
  type GroupDecision,
  type GroupRow,
  type GroupState,
} from "../ledger/dead-letter-groups.ts"
import type { Session } from "../postgres/session.ts"
import { nextState } from "./group-state.ts"

/** A group with the state it is in now. */
export interface Group extends GroupRow {
  readonly state: GroupState
}

/** Looks at the evidence of all groups, keeps the states that follow from it, and gives them. */
export async function lookAtGroups(session: Session): Promise<Map<string, Group>> {
  const rows = await readGroups(session)
  const judged = rows.map((was) => ({ was, state: nextState(was) }))
  await writeGroupStates(session, judged)
  return new Map(judged.map(({ was, state }) => [was.fingerprint, { ...was, state }]))
}

/** Writes what somebody decided about the group that `name` begins (`v1:3f2a`, `3f2a`). Throws `CONFIG`, not found, too. */
export async function decide(session: Session, name: string, decision: GroupDecision): Promise<Group> {
  const groups = await lookAtGroups(session)
  const fingerprint = groupNamed(name, [...groups.keys()])
  const done = await decideGroup(session, fingerprint, decision)
  const group = (await lookAtGroups(session)).get(fingerprint)
  if (!done || group === undefined) throw unknownGroup(name)
  return group
}

/** The one fingerprint that `name` begins, with or without its version. Throws `CONFIG` where there is none (not found) or more than one. */
export function groupNamed(name: string, fingerprints: readonly string[]): string {
  const found = fingerprints.filter((known) => known.startsWith(name) || known.replace(/^v\d+:/, "").startsWith(name))
  const [only, another] = found
  if (fingerprints.includes(name)) return name
  if (only === undefined || name === "") throw unknownGroup(name)
  if (another === undefined) return only
  throw new SpillwayError("CONFIG", `${found.length} groups begin with ${name}`, {
    hint: `write more of it: ${found.slice(0, 5).join(", ")}`,
  })
}

const unknownGroup = (name: string): SpillwayError =>
  new SpillwayError("CONFIG", `there is no group ${name}`, {
    hint: "spillway triage lists the groups; the beginning of a fingerprint is enough",
    context: { notFound: true },
  })
