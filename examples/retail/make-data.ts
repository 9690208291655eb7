import { mkdir, rename, writeFile } from "node:fs/promises"
import { gzipSync } from "node:zlib"

/** Days made, from the first of December 2010; Saturdays are closed. */
const DAYS = 60
const LINES_PER_DAY = 800

const PRODUCTS = [
  ["85123A", "WHITE HANGING HEART T-LIGHT HOLDER", "2.55"],
  ["22423", "REGENCY CAKESTAND 3 TIER", "12.75"],
  ["47566", "PARTY BUNTING", "4.95"],
  ["84879", "ASSORTED COLOUR BIRD ORNAMENT", "1.69"],
  ["22720", 'SET OF 3 CAKE TINS, "PANTRY" DESIGN', "4.95"],
  ["20725", "LUNCH BAG RED RETROSPOT", "1.65"],
  ["21212", "PACK OF 72 RETROSPOT CAKE CASES", "0.55"],
  ["POST", "POSTAGE", "18.00"],
  ["23298", "SPOTTY BUNTING", "4.95"],
  ["PADS", "PADS TO MATCH ALL CUSHIONS", "0.001"],
] as const

const COUNTRIES = ["United Kingdom", "United Kingdom", "United Kingdom", "Germany", "France", "EIRE"] as const

/** A repeatable sequence in [0, 1): mulberry32. */
function sequence(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const quoted = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

function dayOf(date: Date, next: () => number, firstInvoice: number): string {
  const day = date.toISOString().slice(0, 10)
  const lines = ["InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"]
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T
  for (let n = 0; n < LINES_PER_DAY; n++) {
    const [code, description, price] = pick(PRODUCTS)
    const returned = next() < 0.02
    const invoice = `${returned ? "C" : ""}${firstInvoice + Math.floor(n / 12)}`
    const minute = 8 * 60 + Math.floor((n / LINES_PER_DAY) * 9 * 60)
    const time = `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}:00`
    const quantity = (returned ? -1 : 1) * (1 + Math.floor(next() * 24))
    const customer = next() < 0.25 ? "" : `${12346 + Math.floor(next() * 5000)}.0`
    lines.push(
      [
        invoice,
        code,
        next() < 0.003 ? "" : quoted(description),
        quantity,
        `${day} ${time}`,
        price,
        customer,
        pick(COUNTRIES),
      ].join(","),
    )
  }
  // What occurs in real life about once a month: a correction booked with a negative price.
  if (date.getUTCDate() === 12)
    lines.push(`A${firstInvoice + 99},B,Adjust bad debt,1,${day} 14:51:00,-11062.06,,United Kingdom`)
  return `${lines.join("\n")}\n`
}

/** Makes daily files of the shape of the real data set, with its defects, the same each time. */
export async function makeRetailData(folder: string): Promise<void> {
  const next = sequence(20101201)
  const unfinished = `${folder}.${process.pid}.tmp`
  await mkdir(unfinished, { recursive: true })
  for (let n = 0; n < DAYS; n++) {
    const date = new Date(Date.UTC(2010, 11, 1 + n))
    if (date.getUTCDay() === 6) continue
    const name = `${date.toISOString().slice(0, 10)}.csv.gz`
    await writeFile(`${unfinished}/${name}`, gzipSync(dayOf(date, next, 536365 + n * 100)))
  }
  await rename(unfinished, folder)
}
