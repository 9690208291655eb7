import { readdirSync, readlinkSync } from "node:fs"
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DuckDBInstance } from "@duckdb/node-api"
import { parquetWriteBuffer } from "hyparquet-writer"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Format, Source, SourceContext, SourcePartition } from "../../src/core/contracts.ts"
import { nodeFiles } from "../../src/core/files.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { DecodeFault, type Batch } from "../../src/core/records.ts"
import { parquet, parquetInBatches } from "../../src/formats/parquet.ts"
import { files } from "../../src/sources/files.ts"
import { sourceContract } from "../sources/contract.ts"

let directory: string
let duckdb: Awaited<ReturnType<DuckDBInstance["connect"]>>
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "spillway-parquet-"))
  duckdb = await (await DuckDBInstance.create()).connect()
})
afterAll(async () => {
  duckdb.closeSync()
  await rm(directory, { recursive: true, force: true })
})

const contextOf = (changes: Partial<SourceContext> = {}): SourceContext => ({
  // An hour ahead, so that files just written count as settled.
  ports: { ...systemPorts, clock: { ...systemPorts.clock, now: () => Date.now() + 3_600_000 } },
  directory,
  signal: new AbortController().signal,
  exact: new Set(),
  maxRecordBytes: 1 << 20,
  ...changes,
})

/** Has DuckDB write what a query gives; the file's name. */
async function duck(name: string, query: string, options = ""): Promise<string> {
  await duckdb.run(`COPY (${query}) TO '${join(directory, name)}' (FORMAT parquet ${options})`)
  return name
}

async function batches(name: string, format: Format = parquet(), context = contextOf()): Promise<Batch[]> {
  const source = files(name, { format })
  const [partition] = await source.list(context, new Map())
  const found: Batch[] = []
  for await (const batch of source.read(partition as SourcePartition, undefined, context)) found.push(batch)
  return found
}

async function records(name: string, format?: Format, context?: SourceContext): Promise<unknown[]> {
  return (await batches(name, format, context)).flatMap((batch) =>
    Array.from({ length: batch.length }, (_, i) => batch.record(i)),
  )
}

/** Files below the test's folder that the process holds open, as the system tells. */
const open = (): number =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory)
    } catch {
      return false
    }
  }).length

sourceContract("files of Parquet", async () => {
  await nodeFiles.makeDirectory(join(directory, "contract"))
  const query = "SELECT n AS id, 'row ' || n AS text FROM range(5000) t(n)"
  await duck("contract/a.parquet", query, ", ROW_GROUP_SIZE 2048")
  await duck("contract/b.parquet", "SELECT 1 AS id, 'x' AS text")
  const source: Source = files("contract/*.parquet", { format: parquetInBatches({}, 1000) })
  return { source, context: (signal) => contextOf({ signal }), open }
})

describe("values that DuckDB wrote", () => {
  it("come exact, with zones only where the column has one", async () => {
    const name = await duck(
      "types.parquet",
      `SELECT 1.10::DECIMAL(5,2) AS price, 12345678901234567890123456789.012345678::DECIMAL(38,9) AS long, -0.05::DECIMAL(18,2) AS negative,
        9007199254740993::BIGINT AS big, -42::BIGINT AS small, 18446744073709551615::UBIGINT AS ubig, 4000000000::UINTEGER AS uint, 200::UTINYINT AS tiny,
        0.1::FLOAT AS single, 0.1::DOUBLE AS double, 'NaN'::DOUBLE AS nan, '-Infinity'::FLOAT AS inf,
        true AS yes, NULL::INTEGER AS none, 'héllo' AS text, '\\x00\\xFF'::BLOB AS bytes,
        TIMESTAMPTZ '2024-02-29 12:34:56.123456+02' AS at, TIMESTAMP '2024-02-29 12:34:56' AS local, TIMESTAMP '1969-12-31 23:59:59.999999' AS before,
        TIMESTAMP_NS '2024-02-29 12:34:56.123456789' AS nanos, DATE '1582-10-15' AS day, TIME '23:59:59.5' AS time,
        '7d444840-9dc0-11d1-b245-5ffdce74fad2'::UUID AS id, INTERVAL '1 month 2 days 3.5 seconds' AS span,
        [1.50::DECIMAL(4,2), NULL] AS prices, {'at': DATE '2024-01-01', 'n': 9007199254740993} AS nested, MAP {'a': 1.25::DECIMAL(5,2)} AS lookup,
        [[TIMESTAMP '2024-01-01 00:00:00'], []] AS lists, [{'a': [1, 2]}, NULL] AS structs, 'a'::ENUM('a', 'b') AS choice, '{"n":12345678901234567890}'::JSON AS doc`,
    )
    const [record] = await records(name)
    expect(record).toEqual({
      price: 1.1,
      long: "12345678901234567890123456789.012345678",
      negative: -0.05,
      big: "9007199254740993",
      small: -42,
      ubig: "18446744073709551615",
      uint: 4000000000,
      tiny: 200,
      single: 0.1,
      double: 0.1,
      nan: "NaN",
      inf: "-Infinity",
      yes: true,
      none: null,
      text: "héllo",
      bytes: "\\x00ff",
      at: "2024-02-29T10:34:56.123456Z",
      local: "2024-02-29T12:34:56",
      before: "1969-12-31T23:59:59.999999",
      nanos: "2024-02-29T12:34:56.123456789",
      day: "1582-10-15",
      time: "23:59:59.500",
      id: "7d444840-9dc0-11d1-b245-5ffdce74fad2",
      span: "P1M2DT3.500S",
      prices: [1.5, null],
      nested: { at: "2024-01-01", n: "9007199254740993" },
      lookup: { a: 1.25 },
      lists: [["2024-01-01T00:00:00"], []],
      structs: [{ a: [1, 2] }, null],
      choice: "a",
      doc: { n: "12345678901234567890" },
    })
    const exact = contextOf({ exact: new Set(["price", "small", "double"]) })
    expect((await records(name, parquet(), exact))[0]).toMatchObject({ price: "1.10", small: "-42", double: "0.1" })
  })

  it("are the same in every compression and encoding", async () => {
    const query =
      "SELECT n, n % 7 AS few, 'text ' || n % 100 AS text, (n / 3)::DECIMAL(12,4) AS amount FROM range(3000) t(n)"
    const plain = await records(await duck("plain.parquet", query, ", COMPRESSION uncompressed"))
    expect(plain).toHaveLength(3000)
    for (const codec of ["snappy", "gzip", "zstd", "brotli", "lz4_raw"])
      expect(await records(await duck(`${codec}.parquet`, query, `, COMPRESSION ${codec}`)), codec).toEqual(plain)
    expect(await records(await duck("v2.parquet", query, ", PARQUET_VERSION v2"))).toEqual(plain)
  })

  it("hold every decimal, as DuckDB itself writes it out", async () => {
    const decimal = fc.tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.integer({ min: 0, max: 6 }))
    await fc.assert(
      fc.asyncProperty(fc.array(decimal, { minLength: 1, maxLength: 20 }), async (values) => {
        const list = values.map(([n, d]) => `('${n}.${"0".repeat(d)}1'::DECIMAL(38,7))`).join(", ")
        const name = await duck("decimals.parquet", `SELECT d FROM (VALUES ${list}) t(d)`)
        const told = await duckdb.runAndReadAll(`SELECT d::VARCHAR FROM (VALUES ${list}) t(d)`)
        const read = await records(name, parquet(), contextOf({ exact: new Set(["d"]) }))
        expect(read.map((record) => (record as { d: string }).d)).toEqual(told.getRows().map(([text]) => text))
      }),
      { numRuns: 20 },
    )
  })
})

describe("values that another writer wrote", () => {
  it("of older kinds are understood too", async () => {
    const name = "older.parquet"
    const buffer = parquetWriteBuffer({
      columnData: [
        { name: "bytes", data: [Uint8Array.of(104, 105), Uint8Array.of(0xff)], type: "BYTE_ARRAY" },
        { name: "n", data: [1, 2], type: "INT32" },
      ],
    })
    await writeFile(join(directory, name), Buffer.from(buffer))
    expect(await records(name)).toEqual([
      { bytes: "\\x6869", n: 1 },
      { bytes: "\\xff", n: 2 },
    ])
    const [first, second] = await records(name, parquet({ binaryAsText: true }))
    expect(first).toEqual({ bytes: "hi", n: 1 })
    expect(second).toBeInstanceOf(DecodeFault)
    expect(second).toMatchObject({ fault: { rule: "utf8", code: "DECODE" } })
  })
})

describe("a file", () => {
  it("is read in bounded pieces, with a row's number as its place", async () => {
    await duck("groups.parquet", "SELECT n AS id FROM range(5000) t(n)", ", ROW_GROUP_SIZE 2048")
    const read = await batches("groups.parquet", parquetInBatches({}, 1500))
    expect(read.map((batch) => batch.length)).toEqual([1500, 548, 1500, 548, 904])
    expect(read.map((batch) => batch.position)).toEqual([
      { group: 0, row: 1500 },
      { group: 1, row: 0 },
      { group: 1, row: 1500 },
      { group: 2, row: 0 },
      { group: 3, row: 0 },
    ])
    expect(read[2]?.place(0)).toEqual({ line: 2049 })
    expect(read[2]?.record(0)).toEqual({ id: 2048 })
    expect(Buffer.from(read[2]?.raw(0) ?? []).toString()).toBe('{"id":2048}')
  })

  it("says its columns, also when it has no rows", async () => {
    await duck("empty.parquet", "SELECT 1 AS a, 2 AS b WHERE false")
    const source = files("empty.parquet")
    const [partition] = await source.list(contextOf(), new Map())
    const reader = source.read(partition as SourcePartition, undefined, contextOf())
    for await (const _batch of reader) throw new Error("it has no rows")
    expect(reader.columns).toEqual(["a", "b"])
  })

  it("that is damaged is DECODE as a whole", async () => {
    const path = join(directory, "cut.parquet")
    await duck("cut.parquet", "SELECT n AS id FROM range(5000) t(n)")
    const whole = await readFile(path)
    await truncate(path, 1000)
    await expect(records("cut.parquet")).rejects.toMatchObject({ code: "DECODE", where: path })
    const scrambled = Buffer.from(whole)
    scrambled.fill(0xaa, 4, 200)
    await writeFile(path, scrambled)
    await expect(records("cut.parquet")).rejects.toMatchObject({ code: "DECODE", where: path })
    await writeFile(path, "")
    await expect(records("cut.parquet")).rejects.toMatchObject({ code: "DECODE", where: path })
  })

  it("inside another compression says what to do", async () => {
    await writeFile(join(directory, "wrapped.parquet.gz"), "x")
    await expect(records("wrapped.parquet.gz")).rejects.toMatchObject({
      code: "DECODE",
      hint: expect.stringContaining("as it is") as string,
    })
  })

  it("cannot be read from a stream, and a position of another format is refused", async () => {
    expect(() => parquet().decoder({ exact: new Set(), maxRecordBytes: 1 })).toThrow(
      expect.objectContaining({ code: "CONFIG" }),
    )
    await duck("one.parquet", "SELECT 1 AS id")
    const source = files("one.parquet")
    const [partition] = await source.list(contextOf(), new Map())
    const reading = async (): Promise<void> => {
      for await (const _batch of source.read(partition as SourcePartition, { offset: 5, line: 1 }, contextOf())) return
    }
    await expect(reading()).rejects.toMatchObject({ code: "CHECKPOINT" })
  })
})

describe("values that DuckDB does not write", () => {
  /** A file with a column of fixed bytes that says that it is INT96: 8 bytes of nanoseconds in the day, 4 of the Julian day. */
  function int96File(values: readonly (Uint8Array | null)[]): Buffer {
    const schema = [
      { name: "root", num_children: 1 },
      { name: "at", type: "FIXED_LEN_BYTE_ARRAY" as const, type_length: 12, repetition_type: "OPTIONAL" as const },
    ]
    const columnData = [{ name: "at", data: [...values], encoding: "PLAIN" as const }]
    const file = Buffer.from(parquetWriteBuffer({ columnData, schema, statistics: false, codec: "UNCOMPRESSED" }))
    const footer = file.length - 8 - file.readUInt32LE(file.length - 8)
    // The type as thrift has it: 7 (fixed bytes) becomes 3, once in the schema (before its length), once in the column (before its encodings).
    for (const behind of [0x15, 0x19]) {
      const at = file.indexOf(Buffer.from([0x15, 0x0e, behind]), footer)
      expect(at).toBeGreaterThan(footer)
      file[at + 1] = 0x06
    }
    return file
  }

  const int96 = (nanos: bigint, julianDay: number): Uint8Array => {
    const bytes = Buffer.alloc(12)
    bytes.writeBigUInt64LE(nanos)
    bytes.writeInt32LE(julianDay, 8)
    return bytes
  }

  it("INT96 is a time without a zone, to the nanosecond, also before 1970", async () => {
    const values = [
      int96(0n, 2440588),
      int96(45_296_123_456_789n, 2460370),
      int96(86_399_999_999_999n, 2440587),
      null,
      int96(1n, 2299161),
    ]
    await writeFile(join(directory, "int96.parquet"), int96File(values))
    expect(await records("int96.parquet")).toEqual([
      { at: "1970-01-01T00:00:00" },
      { at: "2024-02-29T12:34:56.123456789" },
      { at: "1969-12-31T23:59:59.999999999" },
      { at: null },
      { at: "1582-10-15T00:00:00.000000001" },
    ])
    // DuckDB takes the file for one with INT96, and reads the same to its microsecond.
    const read = await duckdb.runAndReadAll(
      `SELECT strftime("at"::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%f') AS "at" FROM '${join(directory, "int96.parquet")}'`,
    )
    expect(read.getRowObjects().map(({ at }) => at)).toEqual([
      "1970-01-01T00:00:00.000000",
      "2024-02-29T12:34:56.123456",
      "1969-12-31T23:59:59.999999",
      null,
      "1582-10-15T00:00:00.000000",
    ])
  })

  it("FLOAT16 is the number that its 16 bits mean, each of them", async () => {
    const patterns = Array.from({ length: 1 << 16 }, (_, i) => i)
    const columnData = [{ name: "half", data: patterns.map(half), encoding: "PLAIN" as const }]
    const schema = [
      { name: "root", num_children: 1 },
      {
        name: "half",
        type: "FIXED_LEN_BYTE_ARRAY" as const,
        type_length: 2,
        logical_type: { type: "FLOAT16" as const },
        repetition_type: "REQUIRED" as const,
      },
    ]
    const file = parquetWriteBuffer({ columnData, schema, statistics: false })
    await writeFile(join(directory, "half.parquet"), Buffer.from(file))
    const read = (await records("half.parquet")) as { half: number | string }[]
    expect(read).toHaveLength(1 << 16)
    const wrong = patterns.filter((bits) => !Object.is(read[bits]?.half, asJson(half(bits))))
    expect(wrong).toEqual([])
  })

  const bitsOf = (bits: number): Uint8Array => Uint8Array.of(bits & 0xff, bits >> 8)
  /** What JavaScript itself makes of them. */
  const half = (bits: number): number => {
    const view = new DataView(bitsOf(bits).buffer) as DataView & {
      getFloat16(at: number, littleEndian: boolean): number
    }
    return view.getFloat16(0, true)
  }
  const asJson = (value: number): number | string => (Number.isFinite(value) ? value : String(value))
})

it("parts of a file are read without what lies around them", async () => {
  const path = join(directory, "bytes")
  const content = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 251))
  await writeFile(path, content)
  for (const [start, end] of [
    [0, 10],
    [5, 1_048_600],
    [1_048_570, 2_200_000],
    [2_999_990, 3_000_000],
    [7, 7],
  ] as const) {
    const chunks: Buffer[] = []
    for await (const chunk of nodeFiles.chunks(path, { start, end })) chunks.push(Buffer.from(chunk))
    expect(Buffer.concat(chunks).equals(content.subarray(start, end))).toBe(true)
  }
})
