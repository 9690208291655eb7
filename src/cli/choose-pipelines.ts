import { partsOf, type Runnable } from "../engine/project.ts"
import { notFound } from "./errors.ts"
import { suggestion } from "./nearest.ts"
import type { LoadedProject } from "./project.ts"

/** The pipelines of these names in the order named; all of the project, in its order, where none is named. Throws `CONFIG` (not found). */
export function choosePipelines(loaded: LoadedProject, names: readonly string[]): Runnable[] {
  const { pipelines } = loaded.project
  const known = pipelines.map((pipeline) => pipeline.name)
  if (pipelines.length === 0)
    throw notFound("the project has no pipelines", {
      where: loaded.file,
      hint: "declare one: project({ pipelines: [ … ] })",
    })
  if (names.length === 0) return [...pipelines]
  return [...new Set(names)].map((name) => {
    const found = pipelines.find((pipeline) => pipeline.name === name)
    if (found !== undefined) return found
    throw notFound(`the project has no pipeline "${name}"`, {
      where: loaded.file,
      hint: suggestion(name, known, `it has ${known.join(", ")}`),
    })
  })
}

/** What people call a partition of it. */
export const partitionNoun = (runnable: Runnable): string =>
  partsOf(runnable).every((part) => part.kind === "pipeline" && part.source.kind === "files") ? "file" : "partition"
