import { SpillwayError } from "../core/errors.ts"
import { scheduleOf, type Schedule, type ScheduleOption } from "../core/schedule.ts"
import { NAME_RULE, type Pipeline } from "./definition.ts"
import type { Model } from "./model/model.ts"

export interface StagesOptions {
  /** Names the pipeline as a whole: letters, digits, `_`, `-`, `.`; at most 100. */
  name: string
  /** Run in this order; a stage that fails or holds something back ends the run, and the next run continues at it. */
  stages: readonly (Pipeline | Model)[]
  /** When `spillway work` runs it by itself. */
  schedule?: ScheduleOption
}

/** A pipeline made of named stages. */
export interface Stages {
  readonly kind: "stages"
  readonly name: string
  readonly stages: readonly (Pipeline | Model)[]
  readonly schedule: Schedule | undefined
}

/** Declares a pipeline of stages. Throws `CONFIG`. */
export function stages(options: StagesOptions): Stages {
  const names = options.stages.map((stage) => stage.name)
  const fault = !NAME_RULE.test(options.name)
    ? `${JSON.stringify(options.name)} is not 1 to 100 letters, digits, "_", "-" or "."`
    : names.length === 0
      ? "it has no stages"
      : names.includes(options.name)
        ? "one of its stages has its name"
        : names.find((name, i) => names.indexOf(name) !== i)
  if (fault !== undefined)
    throw new SpillwayError("CONFIG", `stages "${options.name}" are not well declared: ${fault}`, {
      hint: "give it and each of its stages a name of its own",
    })
  return { kind: "stages", name: options.name, stages: options.stages, schedule: scheduleOf(options.schedule) }
}
