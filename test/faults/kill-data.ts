// Files for the kill test, and what must become of them, worked out from what was made: no code of the engine is used.
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { seededRandom, type Random } from "../../src/core/random.ts"

/** Columns of the files, in order. */
const HEADER = "order_id,at,amount,quantity,ip,note"

export type Mode = "append" | "upsert"

/** What becomes of one record. */
type Fate =
  | { readonly kind: "row"; readonly values: readonly [string, string, string, number, string | null, string | null] }
  | { readonly kind: "filtered" }
  | { readonly kind: "letter"; readonly code: string }

interface MadeRecord {
  readonly bytes: Buffer
  readonly fate: Fate
  /** How a pipeline without a key takes it, where that differs. */
  readonly withoutKey?: Fate
}

interface MadeFile {
  readonly name: string
  readonly records: readonly MadeRecord[]
}

export interface Dataset {
  readonly files: readonly MadeFile[]
  readonly records: number
}

/** Files before and after somebody worked on them. */
export interface Datasets {
  readonly base: Dataset
  readonly changed: Dataset
  /** Names of the files whose rows must not be touched by the change. */
  readonly untouched: readonly string[]
}

/** Records per file; one file is empty but for its header, one is much larger than the others. */
const SIZES = [410, 150, 1, 330, 0, 1500, 220, 340, 80, 520, 301, 160]
const BAD_EVERY = 61
const LONG_KEY = "k".repeat(3000)

const text = (line: string): Buffer => Buffer.from(`${line}\n`)

/** Makes the records of all files, the same for the same seed. */
export function makeDatasets(seed: number): Datasets {
  const random = seededRandom(seed)
  const keys: string[] = []
  const files = SIZES.map((size, n): MadeFile => {
    const number = String(n + 1).padStart(2, "0")
    const records = Array.from({ length: size }, (_, i) =>
      (i + 7 * n) % BAD_EVERY === 40 ? badRecord(random, i + n) : goodRecord(random, keys),
    )
    return { name: `orders-${number}.csv${n % 3 === 1 ? ".gz" : ""}`, records }
  })
  return { base: dataset(files), ...change(files, random, keys) }
}

const dataset = (files: readonly MadeFile[]): Dataset => ({
  files,
  records: files.reduce((sum, file) => sum + file.records.length, 0),
})

/** Edits, removes and adds records in some files, corrects a bad one, breaks a good one, adds a file and takes one away. */
function change(files: readonly MadeFile[], random: Random, keys: string[]): Omit<Datasets, "base"> {
  const worked = new Map<number, (records: MadeRecord[]) => void>([
    [
      1,
      (records) => {
        const bad = records.findIndex((record) => record.fate.kind === "letter")
        records[bad] = goodRecord(random, keys)
        records[5] = goodRecord(random, keys)
        records.splice(records.findIndex(isPlain), 1)
      },
    ],
    [
      5,
      (records) => {
        for (const at of [3, 700, 1480]) records[at] = goodRecord(random, keys)
        for (const at of [1430, 610, 90]) if (isPlain(records[at])) records.splice(at, 1)
        records.push(goodRecord(random, keys), goodRecord(random, keys))
      },
    ],
    [
      9,
      (records) => {
        records[17] = badRecord(random, 1)
        records[480] = badRecord(random, 5)
      },
    ],
  ])
  const changed = files.map((file, n) => {
    const records = [...file.records]
    worked.get(n)?.(records)
    return { ...file, records }
  })
  const added = { name: "orders-13.csv", records: Array.from({ length: 377 }, () => goodRecord(random, keys)) }
  return {
    changed: dataset([...changed.slice(0, -1), added]),
    untouched: files.filter((_, n) => !worked.has(n)).map((file) => file.name),
  }
}

/** A row whose removal is unambiguous: its key is not one that several files carry with equal values. */
const isPlain = (record: MadeRecord | undefined): boolean =>
  record?.fate.kind === "row" && !record.fate.values[0].startsWith("same")

function goodRecord(random: Random, keys: string[]): MadeRecord {
  const whole = (below: number): number => Math.floor(random.next() * below)
  const chance = random.next()
  if (chance < 0.02) return sameRecord(whole(30))
  let key = keys[whole(keys.length)]
  if (key === undefined || chance > 0.2) keys.push((key = `o${keys.length + 1}`))
  const day = String(1 + whole(28)).padStart(2, "0")
  const at = `2024-0${1 + whole(9)}-${day} 1${whole(10)}:3${whole(10)}:00`
  const amount = `${whole(5000)}.${whole(10)}${whole(10)}`
  const ip = whole(3) === 0 ? null : `10.0.${whole(256)}.${whole(256)}`
  const note = ["skip", "twice", 'says ""hello""', "two\nlines", "Zürich, Straße", ""][whole(40)] ?? "plain"
  const fields = [key, at, amount, String(1 + whole(9)), ip ?? "", note === "" ? "" : `"${note}"`]
  const bytes = text(fields.join(","))
  if (note === "skip") return { bytes, fate: { kind: "filtered" } }
  const stored = note === "" ? null : note.replaceAll('""', '"')
  return { bytes, fate: { kind: "row", values: [key, at, amount, Number(fields[3]), ip, stored] } }
}

/** A record that several files carry, always with the same values. */
function sameRecord(n: number): MadeRecord {
  const values = [`same${n}`, "2024-05-05 12:00:00", `${n}.50`, 1, null, "same"] as const
  return { bytes: text(`${values.slice(0, 4).join(",")},,same`), fate: { kind: "row", values } }
}

function badRecord(random: Random, kind: number): MadeRecord {
  const key = `bad${Math.floor(random.next() * 1e9)}`
  const at = "2024-02-03 10:00:00"
  const letter = (bytes: Buffer, code: string): MadeRecord => ({ bytes, fate: { kind: "letter", code } })
  switch (kind % 8) {
    case 0:
      return letter(text(`${key},${at},-5.00,1,,negative`), "VALIDATION")
    case 1:
      return letter(text(`${key},${at},5.00`), "DECODE")
    case 2:
      return letter(text(`${key},${at},5.00,1,,"quoted" and more`), "DECODE")
    case 3:
      return letter(Buffer.concat([Buffer.from(`${key},${at},5.00,1,,`), Buffer.from([0xff, 0xfe, 0x0a])]), "DECODE")
    case 4:
      return letter(text(`${key},${at},five,1.5,,words`), "VALIDATION")
    case 5:
      return letter(text(`${key},${at},5.00,1,999.1.1.1,refused`), "DB_CONSTRAINT")
    case 6:
      return {
        ...letter(text(`${LONG_KEY}${key},${at},5.00,1,,long`), "DB_CONSTRAINT"),
        withoutKey: { kind: "row", values: [LONG_KEY + key, at, "5.00", 1, null, "long"] },
      }
    default:
      return letter(text(`${key},${at},5.00,1,,boom`), "TRANSFORM")
  }
}

/** Writes the files of a data set into a folder. */
export async function writeDataset(folder: string, { files }: Dataset): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const { name, records } of files) {
    const bytes = Buffer.concat([text(HEADER), ...records.map((record) => record.bytes)])
    await writeFile(join(folder, name), name.endsWith(".gz") ? gzipSync(bytes) : bytes)
  }
}

export interface Expected {
  /** Rows as JSON, with where they come from; sorted. */
  readonly rows: readonly string[]
  /** `file:line code raw` of every letter of files as they are now, sorted. */
  readonly letters: readonly string[]
  /** The same of letters whose record was corrected. */
  readonly superseded: readonly string[]
}

/** What the table and the letters must be after `base` was loaded and, where given, `changed` after it. */
export function expected(mode: Mode, base: Dataset, changed?: Dataset): Expected {
  const table = new Map<string, { values: readonly unknown[]; file: string; line: number }>()
  const letters = new Map<string, Set<string>>()
  const superseded: string[] = []
  const before = new Map(base.files.map((file) => [file.name, file]))
  const load = (file: MadeFile, replaces: boolean): void => {
    const outcome = outcomeOf(mode, file)
    for (const [key, row] of outcome.rows) {
      const there = table.get(key)
      if (there === undefined || JSON.stringify(there.values) !== JSON.stringify(row.values)) table.set(key, row)
    }
    if (replaces)
      for (const [key, row] of table) if (row.file === file.name && !outcome.rows.has(key)) table.delete(key)
    for (const letter of letters.get(file.name) ?? []) if (!outcome.letters.has(letter)) superseded.push(letter)
    letters.set(file.name, outcome.letters)
  }
  for (const file of base.files) load(file, false)
  for (const file of changed?.files ?? []) {
    const known = before.get(file.name)
    if (known === undefined || !sameBytes(known, file)) load(file, known !== undefined)
  }
  // Of two changed files with one key that are published together, the earlier leaves no trace: an equal row keeps its old line.
  const told = mode === "append" || changed === undefined
  return {
    rows: [...table.values()].map(({ values, file, line }) => rowText(values, file, told ? line : undefined)).sort(),
    letters: [...letters.values()].flatMap((found) => [...found]).sort(),
    superseded: superseded.sort(),
  }
}

/** A row as `expected` writes it; the same function serves what the table holds. Without its place where several files carry it. */
export const rowText = (values: readonly unknown[], file: string, line: number | undefined): string =>
  JSON.stringify(String(values[0]).startsWith("same") ? values : [...values, file, line ?? null])

export const letterText = (file: string, line: number, code: string, raw: Buffer): string =>
  `${file}:${line} ${code} ${raw.toString("base64")}`

const sameBytes = (a: MadeFile, b: MadeFile): boolean =>
  a.records.length === b.records.length &&
  a.records.every((record, i) => record.bytes.equals(b.records[i]?.bytes ?? text("")))

function outcomeOf(mode: Mode, file: MadeFile) {
  const rows = new Map<string, { values: readonly unknown[]; file: string; line: number }>()
  const letters = new Set<string>()
  let line = 2
  for (const { bytes, fate: keyed, withoutKey } of file.records) {
    const fate = mode === "append" ? (withoutKey ?? keyed) : keyed
    if (fate.kind === "letter") letters.add(letterText(file.name, line, fate.code, bytes.subarray(0, -1)))
    if (fate.kind === "row") {
      const { values } = fate
      const items = mode === "append" && values[5] === "twice" ? [values, values.with(3, values[3] * 2)] : [values]
      for (const [item, made] of items.entries())
        rows.set(mode === "append" ? `${file.name}:${line}:${item}` : values[0], {
          values: made,
          file: file.name,
          line,
        })
    }
    line += bytes.filter((byte) => byte === 0x0a).length
  }
  return { rows, letters }
}
