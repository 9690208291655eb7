// The project that several processes build the months of: sales in a file a year, a pipeline that loads them, and a model by
// month. Its query counts its calls, and can be made to fail a number of times.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const MODEL = "monthly"
const PIPELINE = "sales"
const FIRST_YEAR = 2001

/** `2001-01` and so on, `count` of them. */
export const monthsOf = (count: number): string[] =>
  Array.from({ length: count }, (_, n) => `${FIRST_YEAR + Math.floor(n / 12)}-${String((n % 12) + 1).padStart(2, "0")}`)

interface Sold {
  readonly sold: string
  readonly cents: number
}

/** The sales of the n-th month: some returns among them, on days from the first to the last. */
function salesOf(month: string, n: number): Sold[] {
  const [year = 0, number = 0] = month.split("-").map(Number)
  const last = new Date(Date.UTC(year, number, 0)).getUTCDate()
  return Array.from({ length: 5 + (n % 7) }, (_, row) => ({
    sold: `${month}-${String(row === 0 ? last : row * 2 - 1).padStart(2, "0")}`,
    cents: ((n * 311 + row * 73) % 5_000) - (row % 4 === 3 ? 6_000 : 0),
  }))
}

/** What the model's table has to hold: `month lines cents`, by month. From the sales alone. */
export const expectedGold = (months: readonly string[]): string[] =>
  months.map((month, n) => {
    const sales = salesOf(month, n)
    return `${month} ${sales.length} ${sales.reduce((sum, { cents }) => sum + cents, 0)}`
  })

export const FOUND_GOLD = `SELECT concat_ws(' ', month_key, lines, cents) AS line FROM gold.monthly ORDER BY 1`

export interface MonthsProject {
  readonly directory: string
  /** What fills the tables that the model reads. */
  readonly pipeline: string
  remove(): Promise<void>
}

/** Writes it to a folder of its own. */
export async function monthsProject(months: readonly string[]): Promise<MonthsProject> {
  const directory = await mkdtemp(join(tmpdir(), "spillway-fan-out-"))
  await mkdir(join(directory, "data"))
  for (const year of new Set(months.map((month) => month.slice(0, 4)))) {
    const sales = months.flatMap((month, n) => (month.startsWith(year) ? salesOf(month, n) : []))
    const lines = sales.map(({ sold, cents }) => `${sold},${cents}`)
    await writeFile(join(directory, "data", `${year}.csv`), ["sold,cents", ...lines, ""].join("\n"))
  }
  await writeFile(join(directory, "spillway.config.ts"), CONFIG)
  await writeFile(join(directory, "monthly.sql"), SQL)
  return { directory, pipeline: PIPELINE, remove: () => rm(directory, { recursive: true, force: true }) }
}

const CONFIG = `
import { csv, files, model, month, pipeline, project, table } from "${new URL("../../src/index.ts", import.meta.url).href}"
import { z } from "${import.meta.resolve("zod")}"

export default project({
  pipelines: [
    pipeline({
      name: "${PIPELINE}",
      source: files("data/*.csv", { format: csv() }),
      schema: z.object({ sold: z.iso.date(), cents: z.int() }),
      sink: table("bronze.sales", { mode: "append" }),
    }),
    model({
      name: "${MODEL}",
      from: "bronze.sales",
      partition: month("sold"),
      sql: new URL("monthly.sql", import.meta.url),
      sink: table("gold.monthly", { key: ["month_key"] }),
    }),
  ],
})
`

const SQL = `
WITH attended AS MATERIALIZED (SELECT faults.attend(\${partition.key}) AS yes)
SELECT to_char(sold, 'YYYY-MM') AS month_key, count(*) AS lines, sum(cents) AS cents
FROM bronze.sales, attended
WHERE attended.yes AND sold >= \${partition.start} AND sold < \${partition.end}
GROUP BY 1
`

export interface Faults {
  readonly months: readonly string[]
  /** How often a month's query fails before it succeeds; 0 where it is not named. */
  readonly fails?: ReadonlyMap<string, number>
  /** Milliseconds that each query takes at least. */
  readonly buildMs: number
}

/**
 * SQL for what counts and fails. Calls are counted by sequences, which do not roll back; each publication of a month leaves a
 * row, whatever the ledger says of it afterwards.
 */
export const faultsSql = ({ months, fails, buildMs }: Faults): string => `
  CREATE SCHEMA faults;
  CREATE TABLE faults.plan (key text PRIMARY KEY, fails int NOT NULL);
  ${[...(fails ?? [])].map(([key, times]) => `INSERT INTO faults.plan VALUES ('${key}', ${times});`).join("\n  ")}
  ${months.map((month) => `CREATE SEQUENCE faults."${month}";`).join("\n  ")}
  CREATE FUNCTION faults.attend(month text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
    DECLARE
      call int := nextval(format('faults.%I', month));
    BEGIN
      PERFORM pg_sleep(${buildMs / 1_000});
      IF call <= (SELECT fails FROM faults.plan WHERE key = month) THEN
        RAISE EXCEPTION 'the books of % are not closed (call %)', month, call USING ERRCODE = '22000';
      END IF;
      RETURN true;
    END $$;
  CREATE TABLE faults.published (key text, version text);
  CREATE FUNCTION faults.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO faults.published VALUES (NEW.partition_key, NEW.position->>'version'); RETURN NEW; END $$;
  CREATE TRIGGER note AFTER UPDATE ON ops.source_positions FOR EACH ROW
    WHEN (NEW.pipeline_name = '${MODEL}' AND NEW.position <> 'null' AND NEW.commit_id IS DISTINCT FROM OLD.commit_id)
    EXECUTE FUNCTION faults.note();`

/** `month times` of the queries that were begun. */
export const CALLS = `SELECT sequencename AS key, coalesce(last_value, 0)::int AS times FROM pg_sequences WHERE schemaname = 'faults' ORDER BY 1`

/** `key times` of the publications, of each version by itself. */
export const PUBLICATIONS = `SELECT key, count(*)::int AS times FROM faults.published GROUP BY key, version ORDER BY 1`
