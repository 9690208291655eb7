import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { parse } from "csv-parse/sync"

/** The retail example's tables as they have to be, worked out from the files alone: csv-parse and whole numbers, no SQL. */
export interface RetailSales {
  /** Measures by month, such as `2011-03`. */
  readonly months: Measures
  /** By stock code. */
  readonly products: Measures
  readonly countries: Measures
  /** By `2011-03-09 22423 France`. */
  readonly days: Measures
}

/** Texts by key: `units_sold revenue returned_units refund_amount lines`, then what else the table has. */
export type Measures = ReadonlyMap<string, string>

/** Amounts are in units of 10^-6 until they are shown; a price with more decimals is refused. */
const SCALE = 6

interface Sums {
  units: bigint
  revenue: bigint
  returned: bigint
  refunds: bigint
  lines: number
  readonly countries: Set<string>
  readonly products: Set<string>
  first: string
  last: string
}

/** Reads all daily files of a folder. */
export async function retailSales(folder: string): Promise<RetailSales> {
  const tables = { months: newTable(), products: newTable(), countries: newTable(), days: newTable() }
  const names = (await readdir(folder)).filter((name) => name.endsWith(".csv.gz")).sort()
  for (const name of names) {
    const [header = [], ...records] = parse(gunzipSync(await readFile(join(folder, name))))
    for (const record of records) {
      const field = (column: string): string => record[header.indexOf(column)] ?? ""
      const price = microsOf(field("UnitPrice"))
      if (price < 0n) continue
      const [date, product, country] = [field("InvoiceDate").slice(0, 10), field("StockCode"), field("Country")]
      const line = { date, product, country, quantity: BigInt(field("Quantity")), price, invoice: field("InvoiceNo") }
      add(tables.months, date.slice(0, 7), line)
      add(tables.products, product, line)
      add(tables.countries, country, line)
      add(tables.days, `${date} ${product} ${country}`, line)
    }
  }
  return {
    months: shown(tables.months, () => ""),
    products: shown(tables.products, (sums) => ` ${sums.first} ${sums.last} ${sums.countries.size}`),
    countries: shown(tables.countries, (sums) => ` ${sums.products.size}`),
    days: shown(tables.days, () => ""),
  }
}

type Table = Map<string, Sums>
const newTable = (): Table => new Map<string, Sums>()

interface Line {
  readonly date: string
  readonly product: string
  readonly country: string
  readonly quantity: bigint
  readonly price: bigint
  readonly invoice: string
}

function add(table: Table, key: string, line: Line): void {
  let sums = table.get(key)
  if (sums === undefined) {
    sums = {
      units: 0n,
      revenue: 0n,
      returned: 0n,
      refunds: 0n,
      lines: 0,
      countries: new Set(),
      products: new Set(),
      first: line.date,
      last: line.date,
    }
    table.set(key, sums)
  }
  if (line.quantity < 0n || line.invoice.startsWith("C")) {
    sums.returned -= line.quantity
    sums.refunds -= line.quantity * line.price
  } else {
    sums.units += line.quantity
    sums.revenue += line.quantity * line.price
  }
  sums.lines++
  sums.countries.add(line.country)
  sums.products.add(line.product)
  if (line.date < sums.first) sums.first = line.date
  if (line.date > sums.last) sums.last = line.date
}

const shown = (table: Table, more: (sums: Sums) => string): Measures =>
  new Map(
    [...table].map(([key, sums]) => [
      key,
      `${sums.units} ${amount(sums.revenue)} ${sums.returned} ${amount(sums.refunds)} ${sums.lines}${more(sums)}`,
    ]),
  )

function microsOf(text: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d{1,6}))?$/.exec(text)
  if (match === null) throw new Error(`a price is ${text}`)
  const [, sign = "", whole = "", fraction = ""] = match
  return BigInt(sign + whole + fraction.padEnd(SCALE, "0"))
}

/** As `trim_scale` writes it. */
function amount(micros: bigint): string {
  const digits = (micros < 0n ? -micros : micros).toString().padStart(SCALE + 1, "0")
  const text = `${digits.slice(0, -SCALE)}.${digits.slice(-SCALE)}`.replace(/\.?0+$/, "")
  return micros < 0n ? `-${text}` : text
}
