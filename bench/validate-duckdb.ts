// node bench/validate-duckdb.ts IN.csv GOOD.csv BAD.jsonl
// The rules of orders.ts in DuckDB with two threads: good rows as CSV, the others as JSON lines with their faults. Prints { good, bad }.
import { DuckDBInstance } from "@duckdb/node-api"

const [input = "", good = "", bad = ""] = process.argv.slice(2)
const COLUMNS = [
  "order_id",
  "customer_id",
  "created_at",
  "status",
  "product",
  "quantity",
  "price",
  "country",
  "email",
  "note",
]
const RULES: Readonly<Record<string, readonly [condition: string, expected: string]>> = {
  order_id: ["order_id <> ''", "at least 1 character"],
  customer_id: ["TRY_CAST(customer_id AS BIGINT) >= 1", "an integer ≥ 1"],
  created_at: ["try_strptime(created_at, '%Y-%m-%dT%H:%M:%SZ') IS NOT NULL", "a date and time with its zone"],
  status: ["status IN ('new', 'paid', 'shipped', 'returned')", "new, paid, shipped or returned"],
  product: ["product IS NOT NULL", "text"],
  quantity: ["TRY_CAST(quantity AS BIGINT) BETWEEN 1 AND 1000", "an integer from 1 to 1000"],
  price: ["TRY_CAST(price AS DECIMAL(18, 4)) >= 0", "a number ≥ 0"],
  country: ["length(country) = 2", "exactly 2 characters"],
  email: ["email IS NOT NULL", "text"],
}
const text = (value: string): string => `'${value.replaceAll("'", "''")}'`
const holds = Object.values(RULES)
  .map(([condition]) => `coalesce(${condition}, false)`)
  .join(" AND ")
const message = Object.entries(RULES)
  .map(
    ([name, [condition, expected]]) =>
      `CASE WHEN coalesce(${condition}, false) THEN NULL ELSE ${text(`${name}: expected ${expected}, got `)} || coalesce('"' || ${name} || '"', 'nothing') END`,
  )
  .join(", ")
const columns = `{${COLUMNS.map((name) => `${text(name)}: 'VARCHAR'`).join(", ")}}`
const record = `{${COLUMNS.map((name) => `${text(name)}: ${name}`).join(", ")}}`

const instance = await DuckDBInstance.create(":memory:", { threads: "2" })
const connection = await instance.connect()
await connection.run(`CREATE TEMP TABLE rows AS SELECT *, ${holds} AS valid FROM read_csv(${text(input)},
  auto_detect = false, header = true, delim = ',', quote = '"', escape = '"', new_line = '\\n', columns = ${columns}, store_rejects = true, rejects_limit = 0)`)
await connection.run(`COPY (SELECT ${COLUMNS.join(", ")} FROM rows WHERE valid) TO ${text(good)} (FORMAT csv, HEADER)`)
await connection.run(`COPY (
  SELECT now() AS ts, 'VALIDATION' AS error_code, concat_ws('; ', ${message}) AS error_msg, ${record} AS record, NULL AS line, NULL AS raw FROM rows WHERE NOT valid
  UNION ALL
  SELECT now(), 'DECODE', error_message, NULL, line, csv_line FROM reject_errors
) TO ${text(bad)} (FORMAT json)`)
const counted = await connection.runAndReadAll(
  "SELECT (SELECT count(*) FILTER (valid) FROM rows) AS good, (SELECT count(*) FILTER (NOT valid) FROM rows) + (SELECT count(DISTINCT line) FROM reject_errors) AS bad",
)
const [counts] = counted.getRows()
console.log(JSON.stringify({ good: Number(counts?.[0]), bad: Number(counts?.[1]) }))
