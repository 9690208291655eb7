import { systemPorts, type Ports } from "../core/ports.ts"
import type { Pipeline } from "./definition.ts"
import type { Load } from "./load.ts"
import type { Model } from "./model/model.ts"
import { modelLoad } from "./model/model-load.ts"
import { pipelineLoad } from "./pipeline/pipeline-load.ts"

/** What a run of a pipeline or a model carries out. Throws `CONFIG` for a model whose SQL is not right. */
export const loadOf = async (part: Pipeline | Model, ports: Ports = systemPorts): Promise<Load> =>
  part.kind === "model" ? modelLoad(part, ports) : pipelineLoad(part)
