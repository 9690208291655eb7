import type { Decoder, DecoderOptions } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { DecodeFault, type Batch, type Position } from "../core/records.ts"
import { byteOrderMark, MARK_BYTES } from "./byte-order-mark.ts"
import { positionNumber, type BatchLimits } from "./chunked-decoder.ts"
import { HeldBytes } from "./held-bytes.ts"
import { JsonBatch } from "./json-batch.ts"
import { CLOSE_LIST, COMMA, isSpace, JsonElementScanner, LF, OPEN_LIST } from "./json-element-scanner.ts"
import { LongElement } from "./json-long-element.ts"

/** What may come next: the array, its first element or its end, an element, what follows one, nothing more. */
const PHASES = ["start", "first", "value", "separator", "after", "end"] as const
type Phase = (typeof PHASES)[number]

const NOT_CLOSED = new DecodeFault("json", "the document ends before its array is closed", { expected: '"]"' })
const SURPLUS = new DecodeFault("json", "something follows the end of the array", {
  expected: "the end of the document",
})

/** Elements of the batch under construction. */
interface Draft {
  readonly starts: number[]
  readonly ends: number[]
  readonly lines: number[]
  readonly faults: Map<number, DecodeFault>
  readonly first: number
}

/** Reads a JSON array element by element; holds no more than a batch, or one element of up to `maxRecordBytes`. */
export class JsonArrayDecoder implements Decoder {
  readonly columns = undefined
  readonly #limits: BatchLimits
  readonly #options: DecoderOptions
  readonly #scanner = new JsonElementScanner()
  readonly #held = new HeldBytes()
  #needed: number
  /** The offset in the file of the first byte held. */
  #base = 0
  #phase: Phase = "start"
  /** Of the first byte not looked at between elements: its line, and that line's offset in the file. */
  #line = 1
  #lineStart = 0
  /** The number of the next element. */
  #element = 1
  /** The offset of the element at hand, and how much of it was scanned; -1 between elements. */
  #start = -1
  #scanned = 0
  #long: LongElement | undefined
  #told = 0

  constructor(limits: BatchLimits, options: DecoderOptions) {
    this.#limits = limits
    this.#options = options
    this.#needed = Math.max(limits.bytes, MARK_BYTES)
    const { position } = options
    if (position === undefined) return
    this.#base = this.#told = positionNumber(position, "offset")
    this.#line = positionNumber(position, "line")
    this.#lineStart = positionNumber(position, "lineStart")
    this.#element = positionNumber(position, "element")
    this.#phase = PHASES[positionNumber(position, "phase")] ?? "start"
  }

  push(chunk: Uint8Array): Batch[] {
    if (chunk.length === 0) return []
    this.#held.add(chunk)
    return this.#drain(false)
  }

  end(): Batch[] {
    return this.#drain(true)
  }

  #drain(final: boolean): Batch[] {
    const batches: Batch[] = []
    while (final ? this.#phase !== "end" : this.#held.length >= this.#needed) {
      if (this.#phase === "start" && this.#base === 0) this.#skipMark()
      const batch = this.#cut(this.#held.view(), final)
      if (batch !== undefined) batches.push(batch)
    }
    return batches
  }

  /** Takes a batch off the bytes held; undefined when none of its elements is whole. */
  #cut(bytes: Buffer, final: boolean): Batch | undefined {
    const base = this.#base
    const draft: Draft = { starts: [], ends: [], lines: [], faults: new Map(), first: this.#element }
    let at = this.#start < 0 ? 0 : this.#start - base
    let spent = false
    while (draft.starts.length < this.#limits.records && at < this.#limits.bytes && this.#phase !== "end") {
      if (this.#start < 0) at = this.#between(bytes, at, final)
      spent = this.#start < 0 || !this.#scan(bytes, final)
      if (spent) break
      at = this.#scanner.end - base
      this.#add(draft, bytes, at)
    }
    if (this.#long !== undefined && draft.starts.length === 0) return this.#goOnLong(bytes, final)
    if (spent && final && this.#start < 0) this.#conclude(draft, at)
    const kept = this.#start < 0 ? at : this.#start - base
    this.#drop(kept)
    // Doubling keeps a long element from being joined once per chunk.
    const more = spent && this.#long === undefined ? Math.max(2 * this.#held.length, this.#held.length + 1) : 0
    this.#needed = Math.max(this.#long === undefined ? this.#limits.bytes : 1, more)
    return draft.starts.length === 0 ? undefined : this.#batch(bytes.subarray(0, kept), draft, base)
  }

  /** Reads what stands between elements; leaves `#start` at the next element's first byte, if it is there. */
  #between(bytes: Buffer, at: number, final: boolean): number {
    for (; at < bytes.length; at++) {
      const byte = bytes[at] as number
      if (isSpace(byte)) {
        if (byte === LF) this.#newLine(this.#base + at + 1)
      } else if (this.#phase === "start") {
        if (byte !== OPEN_LIST) throw notAnArray(this.#line)
        this.#phase = "first"
      } else if (byte === CLOSE_LIST && (this.#phase === "first" || this.#phase === "separator")) this.#phase = "after"
      else if (byte === COMMA && this.#phase === "separator") this.#phase = "value"
      else {
        this.#begin(this.#base + at)
        return at
      }
    }
    if (final && this.#phase === "start") throw notAnArray(this.#line)
    return at
  }

  #begin(start: number): void {
    this.#start = start
    this.#scanned = 0
    this.#scanner.begin(start - this.#lineStart, this.#phase === "after")
  }

  /** Scans on in the element at hand; true when its end was found, false when more bytes are needed or it is too long to keep. */
  #scan(bytes: Buffer, final: boolean): boolean {
    if (this.#long !== undefined) return false
    const scanner = this.#scanner
    const start = this.#start - this.#base
    const longest = start + this.#options.maxRecordBytes + 1
    const window = bytes.length <= longest ? bytes : bytes.subarray(0, longest)
    if (scanner.scan(window, start + this.#scanned, this.#base)) return true
    this.#scanned = window.length - start
    if (window.length === longest) {
      if (scanner.endAtLine()) return true
      scanner.forgetful = true
      this.#long = new LongElement()
      return false
    }
    if (!final) return false
    this.#finish(bytes)
    return true
  }

  /** The file ends within the element at hand. */
  #finish(bytes: Buffer): void {
    const end = this.#base + bytes.length
    this.#scanner.finish(end)
    // One letter tells that the end is missing.
    if (this.#scanner.broken && this.#scanner.end === end) this.#phase = "after"
  }

  /** Reads on in an element that is too long to keep; a batch of one when it ends. */
  #goOnLong(bytes: Buffer, final: boolean): Batch | undefined {
    const long = this.#long as LongElement
    const scanner = this.#scanner
    const from = this.#start - this.#base
    const ended = scanner.scan(bytes, from + this.#scanned, this.#base)
    if (!ended && final) this.#finish(bytes)
    const to = ended || final ? scanner.end - this.#base : bytes.length
    long.add(bytes.subarray(from, to))
    const line = long.line ?? this.#line
    long.line = line
    this.#countLines(bytes, from, to)
    this.#drop(to)
    this.#needed = 1
    if (!ended && !final) {
      this.#start = this.#base
      this.#scanned = 0
      return undefined
    }
    return this.#finishLong(long, line)
  }

  #finishLong(long: LongElement, line: number): Batch {
    const { head, fault } = long.finish(this.#options.maxRecordBytes)
    const draft = {
      starts: [0],
      ends: [head.length],
      lines: [line],
      faults: new Map([[0, fault]]),
      first: this.#element,
    }
    this.#long = undefined
    this.#needed = this.#limits.bytes
    this.#leave(draft)
    return this.#batch(head, draft, this.#base - long.bytes)
  }

  #add(draft: Draft, bytes: Buffer, end: number): void {
    const start = this.#start - this.#base
    let stop = end
    while (stop > start && isSpace(bytes[stop - 1])) stop--
    // What stands before a line that begins another element ends in the comma between the two.
    if (this.#scanner.broken && stop > start && bytes[stop - 1] === COMMA && !this.#scanner.toEnd) stop--
    if (this.#scanner.toEnd) draft.faults.set(draft.starts.length, SURPLUS)
    draft.starts.push(start)
    draft.ends.push(stop)
    draft.lines.push(this.#line)
    this.#countLines(bytes, start, end)
    this.#leave(draft)
  }

  /** The element at hand is done. */
  #leave(draft: Draft): void {
    this.#element = draft.first + draft.starts.length
    this.#start = -1
    this.#phase = this.#phase === "after" ? "end" : "separator"
  }

  /** The file ended between elements. */
  #conclude(draft: Draft, at: number): void {
    if (this.#phase !== "after") {
      draft.faults.set(draft.starts.length, NOT_CLOSED)
      draft.starts.push(at)
      draft.ends.push(at)
      draft.lines.push(this.#line)
      this.#element++
    }
    this.#phase = "end"
  }

  #batch(bytes: Buffer, draft: Draft, offset: number): Batch {
    const taken = this.#base - this.#told
    this.#told = this.#base
    return new JsonBatch({ bytes, ...draft, offset, taken, position: this.#position(), exact: this.#options.exact })
  }

  #position(): Position {
    const phase = PHASES.indexOf(this.#phase)
    return { offset: this.#base, line: this.#line, lineStart: this.#lineStart, element: this.#element, phase }
  }

  #countLines(bytes: Buffer, from: number, to: number): void {
    for (let feed = bytes.indexOf(LF, from); feed >= 0 && feed < to; feed = bytes.indexOf(LF, feed + 1))
      this.#newLine(this.#base + feed + 1)
  }

  #newLine(start: number): void {
    this.#line++
    this.#lineStart = start
  }

  #skipMark(): void {
    this.#drop(byteOrderMark(this.#held.view()))
    this.#lineStart = this.#base
  }

  #drop(taken: number): void {
    this.#base += taken
    this.#held.drop(taken)
  }
}

function notAnArray(line: number): SpillwayError {
  return new SpillwayError("DECODE", "the document is not a JSON array", {
    where: `line ${line}`,
    context: { line },
    hint: "it has to begin with [; when it has one object per line, its format is jsonl",
  })
}
