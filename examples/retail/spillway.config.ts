import {
  csv,
  files,
  model,
  month,
  nullRatio,
  passRate,
  pipeline,
  project,
  reads,
  rowCount,
  sql,
  stages,
  table,
} from "spillway"
import { retailData } from "./data.ts"
import { Transaction } from "./schema.ts"

const transactions = pipeline({
  name: "retail_transactions",
  source: files("*.csv.gz", { root: await retailData(), format: csv() }),
  schema: Transaction,
  checks: [passRate(0.95), nullRatio("CustomerID"), nullRatio("Description")],
  sink: table("bronze.raw_transactions", { mode: "append" }),
})

const IS_RETURN = "(quantity < 0 OR invoice_no LIKE 'C%')"

const dailySales = model({
  name: "fact_sales_daily",
  from: reads("bronze.raw_transactions", month("invoice_date", "Europe/London")),
  partition: month("sale_date", "Europe/London"),
  sql: new URL("./models/fact_sales_daily.sql", import.meta.url),
  sink: table("silver.fact_sales_daily", { key: ["sale_date", "stock_code", "country"] }),
  checks: [rowCount({ min: 1 })],
  sums: `
    SELECT count(*) AS lines,
           sum(quantity * unit_price) FILTER (WHERE NOT ${IS_RETURN}) AS revenue,
           sum(-quantity * unit_price) FILTER (WHERE ${IS_RETURN}) AS refund_amount
    FROM bronze.raw_transactions
    WHERE invoice_date >= \${partition.start} AND invoice_date < \${partition.end}`,
})

const SILVER = "FROM silver.fact_sales_daily"

/** What gold adds up to is what silver adds up to, exactly. */
const SILVER_SUMS = `
  SELECT sum(lines) AS lines, sum(units_sold) AS units_sold, sum(revenue) AS revenue,
         sum(returned_units) AS returned_units, sum(refund_amount) AS refund_amount
  ${SILVER}`

const monthlySales = model({
  name: "fact_sales_monthly",
  from: "silver.fact_sales_daily",
  partition: month("sale_date"),
  sql: new URL("./models/fact_sales_monthly.sql", import.meta.url),
  sink: table("gold.fact_sales_monthly", { key: ["month_key"] }),
  checks: [
    rowCount({ min: 1, max: 1 }),
    sql("a month has sales", "SELECT * FROM staged WHERE units_sold <= 0"),
    sql("refunds do not exceed sales", "SELECT * FROM staged WHERE refund_amount > revenue"),
    sql(
      "no month is missing before it",
      `SELECT * FROM staged
       WHERE EXISTS (SELECT ${SILVER} WHERE sale_date < make_date(year, month, 1))
         AND NOT EXISTS (SELECT ${SILVER} WHERE sale_date < make_date(year, month, 1)
                           AND sale_date >= make_date(year, month, 1) - interval '1 month')`,
      { severity: "warn" },
    ),
  ],
  sums: `${SILVER_SUMS} WHERE sale_date >= \${partition.start} AND sale_date < \${partition.end}`,
})

const performance = stages({
  name: "performance",
  stages: [
    model({
      name: "product_performance",
      from: "silver.fact_sales_daily",
      sql: new URL("./models/fact_product_performance.sql", import.meta.url),
      sink: table("gold.fact_product_performance", { key: ["stock_code"] }),
      sums: SILVER_SUMS,
    }),
    model({
      name: "country_sales",
      from: "silver.fact_sales_daily",
      sql: new URL("./models/fact_country_sales.sql", import.meta.url),
      sink: table("gold.fact_country_sales", { key: ["country"] }),
      sums: SILVER_SUMS,
    }),
  ],
})

export default project({ pipelines: [transactions, dailySales, monthlySales, performance] })
