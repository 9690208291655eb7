import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import type { SourceContext } from "../../src/core/contracts.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { DecodeFault } from "../../src/core/records.ts"
import { csv } from "../../src/formats/csv.ts"
import { files } from "../../src/sources/files.ts"

it("reads the Online Retail data whole: 305 files, 541,909 records, none broken", async () => {
  const root = new URL("../../../shared/data/online-retail", import.meta.url)
  const context: SourceContext = {
    ports: systemPorts,
    directory: fileURLToPath(root),
    signal: new AbortController().signal,
    exact: new Set(),
    maxRecordBytes: 1 << 24,
  }
  const source = files("*.csv.gz", { format: csv(), root })
  const partitions = await source.list(context, new Map())
  let read = 0
  let broken = 0
  const blank = { CustomerID: 0, Description: 0 }
  for (const partition of partitions)
    for await (const batch of source.read(partition, undefined, context))
      for (let i = 0; i < batch.length; i++) {
        const record = batch.record(i)
        read++
        if (record instanceof DecodeFault) broken++
        else for (const column of ["CustomerID", "Description"] as const) if (record[column] === null) blank[column]++
      }
  expect({ files: partitions.length, read, broken, blank }).toEqual({
    files: 305,
    read: 541_909,
    broken: 0,
    blank: { CustomerID: 135_080, Description: 1_454 },
  })
})
