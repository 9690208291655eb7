import { once } from "node:events"
import { createWriteStream } from "node:fs"
import { seededRandom, type Random } from "../src/core/random.ts"
import { letterLine } from "../src/validate/letter-line.ts"

/** Letters written at a time. */
const PORTION = 2_000

/** Letters as `validate` writes them of orders, of 24 causes in five forms, over three hours of 31 files. The same every time. */
export async function writeLetters(path: string, letters: number): Promise<void> {
  const random = seededRandom(5)
  const stream = createWriteStream(path)
  for (let from = 0; from < letters; from += PORTION) {
    const lines = Array.from({ length: Math.min(PORTION, letters - from) }, (_, i) =>
      line(from + i, (from + i) / letters, random),
    )
    if (!stream.write(`${lines.join("\n")}\n`)) await once(stream, "drain")
  }
  await new Promise<void>((done) => stream.end(() => done()))
}

const RULES = ["invalid_type", "too_small", "invalid_value", "invalid_format", "not_after"]
const FIELDS = ["quantity", "price", "status", "created_at", "items[3].price"]
const CAUSES = 24
const FINGERPRINTS = Array.from({ length: CAUSES }, (_, cause) => `v1:${seededRandom(cause).hex(8)}`)
const FILES = 31
const THREE_HOURS = 10_800_000

/** Letter `n`, `share` of the whole time after the first. */
function line(n: number, share: number, random: Random): string {
  const cause = Math.floor(random.next() ** 2 * CAUSES)
  const path = FIELDS[cause % FIELDS.length] ?? ""
  const rule = RULES[Math.floor(cause / FIELDS.length)] ?? ""
  const price = (random.next() * 500 - 250).toFixed(2)
  const record = {
    ...{ order_id: `ord-${n}`, customer_id: String(n % 90_000), created_at: "2026-02-30T00:00:00Z", status: "lost" },
    ...{ product: `product ${n % 500}`, quantity: "a few", price, country: "DE", email: `user${n % 977}@example.com` },
    note: n % 10 === 0 ? 'said "yes", twice' : "",
  }
  const fault = (field: string): Record<string, string> => ({
    ...{ code: "VALIDATION", step: "validate", rule, path: field, expected: "a number ≥ 0", actualType: "string" },
    message: `${field}: expected a number ≥ 0, got "${price}"`,
  })
  const faults = random.next() < 0.1 ? [fault(path), fault("email")] : [fault(path)]
  const time = new Date(Date.UTC(2026, 10, 20, 3) + Math.floor(share * THREE_HOURS)).toISOString()
  return letterLine(
    {
      id: `dl_${random.hex(16)}`,
      fingerprint: FINGERPRINTS[cause] ?? "",
      ordinal: n,
      source: JSON.stringify({ file: `data/2026-01-${String(1 + (n % FILES)).padStart(2, "0")}.csv`, line: n }),
      step: "validate",
      errorCode: "VALIDATION",
      errorMessage: faults.map(({ message }) => message).join("; "),
      ...{ rule, path },
      faults: JSON.stringify(faults),
      record: JSON.stringify(record),
      raw: Buffer.from(Object.values(record).join(",")),
      oversize: undefined,
    },
    { pipeline: "orders", runId: "run_20261120_0300", time, schemaVersion: "5c1a9e" },
  )
}
