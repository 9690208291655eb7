import { userInfo } from "node:os"
import type { Pipeline } from "../engine/definition.ts"
import { partsOf } from "../engine/project.ts"
import type { ReplayReport } from "../engine/replay/replay.ts"
import { notFound } from "./errors.ts"
import { exitCodeOf, exitCodes, type ExitCode } from "./exit-codes.ts"
import { suggestion } from "./nearest.ts"
import type { LoadedProject } from "./project.ts"

/** All pipelines of the project, also those that are stages; or the one named. Throws `CONFIG` (not found). */
export function pipelinesOf({ project, file }: LoadedProject, name: string | undefined): Pipeline[] {
  const all = project.pipelines.flatMap((runnable) => partsOf(runnable)).filter((part) => part.kind === "pipeline")
  if (name === undefined) return all
  const found = all.filter((pipeline) => pipeline.name === name)
  if (found.length > 0) return found
  const known = all.map((pipeline) => pipeline.name)
  throw notFound(`the project has no pipeline "${name}" that loads records`, {
    where: file,
    hint: suggestion(name, known, `it has ${known.join(", ")}`),
  })
}

/** Who runs this command; a user without a name in the system's list is known by number. */
export function operatingSystemUser(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? "unknown"}`
  }
}

export function exitCodeOfReplay({ status, outcomes, error }: ReplayReport): ExitCode {
  if (status === "interrupted") return exitCodes.interrupted
  if (status === "aborted") return exitCodes.failure
  if (status === "failed") return error === undefined ? exitCodes.failure : exitCodeOf(error)
  const short = (outcomes["failed"] ?? 0) + (outcomes["poisoned"] ?? 0) + (outcomes["left"] ?? 0)
  return short > 0 ? exitCodes.partial : exitCodes.ok
}
