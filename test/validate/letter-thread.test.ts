import type { FileHandle } from "node:fs/promises"
import { Readable } from "node:stream"
import { afterEach, describe, expect, it } from "vitest"
import { z } from "zod"
import { SpillwayError } from "../../src/core/errors.ts"
import { systemPorts, type Ports } from "../../src/core/ports.ts"
import { seededRandom } from "../../src/core/random.ts"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { LetterThread } from "../../src/validate/letter-thread.ts"
import { PIECES } from "../../src/validate/letter-thread-messages.ts"
import { nowhere } from "../../src/validate/output-file.ts"
import { validated, type Validated } from "./both-ways.ts"
import { Folder } from "./folder.ts"

const Item = z.object({
  name: z.enum(["right", "good", "é", 'with "quotes"']),
  size: z.int().min(1).max(9),
  note: z.string().max(40).optional(),
})
const HEADER = "name,size,note\n"

/** Threads that this process has. */
const threads = (): number => process.getActiveResourcesInfo().filter((resource) => resource === "MessagePort").length
const before = threads()
afterEach(() => expect(threads()).toBe(before))

/** Rows of every kind that a letter can be of, and good ones. */
function rows(count: number, seed: number): Buffer {
  const random = seededRandom(seed)
  const pick = (from: readonly string[]): string => from[Math.floor(random.next() * from.length)] as string
  const names = ["right", "good", "wrong", "", "é", '"with ""quotes"""', "Ä", "back\\slash", '"two\nlines"', "a\0b"]
  const sizes = ["3", "9", "0", "a few", "", "1.50", "10"]
  const notes = [
    "",
    "a note",
    '"said ""so"", twice"',
    '"a\nnew line"',
    "\u0007bell",
    "\u{1f600}",
    "tab\there",
    "x".repeat(50),
  ]
  const lines = Array.from({ length: count }, (_, n) => {
    const size = random.next() < 0.1 ? `a${n}` : pick(sizes)
    const surplus = random.next() < 0.1 ? ",surplus" : ""
    return Buffer.from(`${pick(names)},${size},${pick(notes)}${surplus}\n`)
  })
  const undecodable = Buffer.from([0x72, 0xff, 0x2c, 0x31, 0x2c, 0x0a])
  return Buffer.concat([
    Buffer.from(HEADER),
    ...lines.flatMap((line, n) => (n % 97 === 0 ? [undecodable, line] : [line])),
  ])
}

const told = ({ good, letters, report, warnings, sure }: Validated) => ({
  good: good.toString("latin1"),
  letters: letters.toString("latin1"),
  ...{ report, warnings, sure },
})

describe("letters that a thread puts together", () => {
  it.each([
    ["rows of all kinds, in many batches", [rows(3_000, 1), rows(500, 2)], 4_096],
    ["plain rows", [Buffer.from(HEADER + "wrong,1,\nright,1,note\nright,0,\nright,1,,\n".repeat(2_000))], 10_000],
    [
      "plain rows with quotes between them",
      [Buffer.from(HEADER + 'wrong,1,\nright,0,"a ""note"""\n'.repeat(2_000))],
      9_000,
    ],
    [
      "pieces of text that fill their memory over and over",
      [Buffer.from(HEADER + "wrong,1,\n".repeat(30_000))],
      1 << 18,
    ],
    [
      "records that are longer than that memory",
      [Buffer.from(`${HEADER}wrong,1,${"x".repeat(900_000)}\nright,0,\n`)],
      1 << 16,
    ],
    ["no letter at all", [Buffer.from(`${HEADER}right,1,\n`)], 1 << 16],
  ])("are those without it, byte for byte: %s", async (_what, contents, chunk) => {
    const schema = toRecordSchema(Item)
    const way = { input: "csv", output: "csv", general: false, chunk } as const
    const alone = await validated(schema, contents, { ...way, threadFrom: Infinity })
    expect(told(await validated(schema, contents, { ...way, threadFrom: 0 }))).toEqual(told(alone))
  })

  it("are in order when it begins in the middle", async () => {
    const schema = toRecordSchema(Item)
    const way = { input: "csv", output: "csv", general: false, chunk: 512 } as const
    const contents = [rows(20_000, 3)]
    const alone = await validated(schema, contents, { ...way, threadFrom: Infinity })
    expect(told(await validated(schema, contents, { ...way, threadFrom: 100 }))).toEqual(told(alone))
  })
})

/** Files whose letters cannot be written from the nth time on. */
const failing = (times: number, error: Error): Ports => ({
  ...systemPorts,
  files: {
    ...systemPorts.files,
    create: async (path) => {
      const handle = await systemPorts.files.create(path)
      if (!path.includes("bad.jsonl")) return handle
      const write = handle.write.bind(handle) as (bytes: Uint8Array, from: number) => Promise<unknown>
      const limited = (bytes: Uint8Array, from: number): Promise<unknown> =>
        times-- > 0 ? write(bytes, from) : Promise.reject(error)
      return Object.assign(handle, { write: limited } as unknown as Partial<FileHandle>)
    },
  },
})

const bad = Buffer.from("a,Desk,x,1,\nb,Desk,1,1,\n".repeat(20_000))
function* endless(): Generator<Buffer, void, void> {
  yield Buffer.from("id,name,price,quantity,ts\n")
  for (;;) yield bad
}

describe("a validation with a thread", () => {
  it("ends with the error of a disk that is full, leaves no output and no thread", async () => {
    await using folder = await Folder.of()
    const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" })
    const options = { stdin: Readable.from(endless()), ports: failing(5, full), threadFrom: 0 }
    await expect(folder.validate("-", options)).rejects.toMatchObject({ code: "RESOURCE", cause: full })
    expect(await folder.list()).toEqual([])
  })

  it("ends when whoever read its letters has left", async () => {
    await using folder = await Folder.of()
    const left = new SpillwayError("CANCELLED", "left", { hint: "none" })
    let times = 0
    const stdout = (): Promise<void> => (++times > 3 ? Promise.reject(left) : Promise.resolve())
    const options = { stdin: Readable.from(endless()), deadLetter: "-", stdout, threadFrom: 0 }
    await expect(folder.validate("-", options)).rejects.toBe(left)
    expect(await folder.list()).toEqual([])
  })

  it("ends when it is stopped in the middle, and leaves nothing behind", async () => {
    await using folder = await Folder.of()
    const controller = new AbortController()
    const reason = new SpillwayError("CANCELLED", "stop", { hint: "none" })
    let batches = 0
    const on = (): void => {
      if (++batches === 9) controller.abort(reason)
    }
    const options = { stdin: Readable.from(endless()), signal: controller.signal, on, threadFrom: 0 }
    await expect(folder.validate("-", options)).rejects.toBe(reason)
    expect(await folder.list()).toEqual([])
  })
})

const ORIGIN = { pipeline: "p", partition: "in.csv", unit: "file" } as const
const NOTHING = { columns: [], bytes: Buffer.alloc(0), starts: new Uint32Array(), ends: new Uint32Array() }
/** Whole letters of so many bytes. */
const whole = (bytes: number) => ({
  ...{ orders: Float64Array.of(-1, bytes, 0, 0, 0, 0), parts: new Uint32Array(), source: NOTHING },
  texts: Buffer.alloc(bytes, "x"),
})

describe("a thread", () => {
  it("makes no more than its file takes, and whoever gives it letters waits", async () => {
    const open = Promise.withResolvers<void>()
    let written = 0
    const write = async (bytes: Uint8Array): Promise<void> => {
      await open.promise
      written += bytes.length
    }
    const thread = new LetterThread({ ...nowhere, write })
    await thread.begun()
    const given = 60
    let taken = 0
    const giving = (async () => {
      for (; taken < given; taken++) await thread.take(ORIGIN, whole(1 << 20))
    })()
    // All memory for pieces is full: the thread waits for more with the last parcel it began, and one more is on its way.
    await expect.poll(() => taken).toBe(PIECES + 1)
    open.resolve()
    await giving
    await thread.finish()
    await thread.end()
    expect(written).toBe(given << 20)
  })

  it("that cannot begin is the error of whoever waits for it, or gives it nothing", async () => {
    const thread = new LetterThread(nowhere, new URL("not-there.js", import.meta.url))
    await expect(thread.begun()).rejects.toThrow(/not-there/)
    expect(() => thread.hasBegun()).toThrow(/not-there/)
    await expect(thread.finish()).rejects.toThrow(/not-there/)
    await thread.end()
  })

  it("that fails is the error of whoever gives it letters", async () => {
    const thread = new LetterThread(nowhere)
    const broken = { ...whole(1), orders: Float64Array.of(3, 0, 0, 0, 0, 0) }
    await expect(
      (async () => {
        for (;;) await thread.take(ORIGIN, broken)
      })(),
    ).rejects.toThrow(TypeError)
    await expect(thread.finish()).rejects.toThrow(TypeError)
    await thread.end()
  })
})
