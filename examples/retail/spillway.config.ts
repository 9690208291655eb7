import { csv, files, month, nullRatio, passRate, pipeline, project, table } from "spillway"
import { retailData } from "./data.ts"
import { Transaction } from "./schema.ts"

const transactions = pipeline({
  name: "retail_transactions",
  source: files("*.csv.gz", { root: await retailData(), format: csv() }),
  schema: Transaction,
  checks: [passRate(0.95), nullRatio("CustomerID"), nullRatio("Description")],
  sink: table("bronze.raw_transactions", { mode: "append", tracked: [month("InvoiceDate", "Europe/London")] }),
})

export default project({ pipelines: [transactions] })
