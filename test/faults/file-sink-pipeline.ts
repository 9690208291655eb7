import { z } from "zod"
import { csv, files, jsonlFiles, pipeline } from "../../src/index.ts"

/** Files of two records each. */
export const partedOrders = pipeline({
  name: "orders",
  source: files("in/*.csv", { format: csv() }),
  schema: z.object({ id: z.string() }),
  sink: jsonlFiles("out", { maxRecordsPerFile: 2 }),
  leaseMs: 2_000,
})
