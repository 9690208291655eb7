const TAB = 0x09
export const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const QUOTE = 0x22
export const COMMA = 0x2c
const COLON = 0x3a
export const OPEN_LIST = 0x5b
const BACKSLASH = 0x5c
export const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

export const isSpace = (byte: number | undefined): boolean =>
  byte === SPACE || byte === LF || byte === CR || byte === TAB

/**
 * Finds the end of one element of a JSON array, byte by byte, going on where the bytes ended before. It looks at brackets,
 * strings and commas only; whether the element is JSON is for the parser to say. What it calls broken never is.
 *
 * In a broken element strings cannot be told from the rest: its brackets are counted until they close, and a line that begins with
 * `{`, no further in than the element did, begins another element. All offsets are those of the file.
 */
export class JsonElementScanner {
  /** Once `scan` said true: where the element ends, which may lie before what was scanned. */
  end = 0
  broken = false
  /** It is no element, and takes up the rest of the file. */
  toEnd = false
  /** The bytes before what is scanned are gone: there is no way back to an earlier line. */
  forgetful = false
  /** The closing brackets that are waited for. */
  readonly #open: number[] = []
  #column = 0
  #inString = false
  #escaped = false
  /** In a number or word, which end without a mark of their own. */
  #inRun = false
  #valueMayCome = true
  #hadValue = false
  /** The comma that was the last thing read; -1 for anything else. */
  #comma = -1
  /** Spaces since the last line feed; -1 when something else came, or no line feed. */
  #indent = -1
  /** The first line that would begin another element if this one turned out to be broken; -1 without. */
  #candidate = -1

  /** Begins an element whose first byte stands `column` bytes into its line. */
  begin(column: number, toEnd: boolean): void {
    this.broken = toEnd
    this.forgetful = false
    this.#open.length = 0
    this.#column = column
    this.toEnd = toEnd
    this.#inString = false
    this.#escaped = false
    this.#inRun = false
    this.#valueMayCome = true
    this.#hadValue = false
    this.#comma = -1
    this.#indent = -1
    this.#candidate = -1
  }

  /** Reads on at `bytes[at]`; true when the element's end was found. `base` is the offset of `bytes[0]`. */
  scan(bytes: Uint8Array, at: number, base: number): boolean {
    if (this.toEnd) return false
    for (; at < bytes.length; at++) {
      if (this.#inString) {
        at = this.#string(bytes, at)
        if (at >= bytes.length) return false
      }
      const byte = bytes[at] as number
      if (byte === SPACE || byte === TAB || byte === CR || byte === LF) {
        this.#inRun = false
        if (byte === LF) this.#indent = 0
        else if (this.#indent >= 0) this.#indent++
        continue
      }
      const beginsLine = this.#indent >= 0 && this.#indent <= this.#column && byte === OPEN_OBJECT
      this.#indent = -1
      if (beginsLine && (this.broken || this.forgetful)) return this.#breakAt(base + at)
      if (beginsLine && this.#candidate < 0 && this.#open.length > 0) this.#candidate = base + at
      if (this.#takes(byte, base + at)) return true
      if (this.broken && this.#candidate >= 0) return this.#breakAt(this.#candidate)
    }
    return false
  }

  /** The file ends at `end`. */
  finish(end: number): void {
    const open = this.#open.length > 0 || this.#inString
    if (open && this.#candidate >= 0) this.#breakAt(this.#candidate)
    else this.#endAt(end)
    if (open) this.broken = true
  }

  /** The element is too long to keep unless it is broken: ends it at the line where another begins, or says false. */
  endAtLine(): boolean {
    return this.#candidate >= 0 && this.#breakAt(this.#candidate)
  }

  /** Reads to the end of a string; gives the offset behind it, or that of a line end, which no string holds. */
  #string(bytes: Uint8Array, at: number): number {
    for (; at < bytes.length; at++) {
      const byte = bytes[at] as number
      if (byte === LF || byte === CR) {
        this.#break()
        return at
      }
      if (this.#escaped) this.#escaped = false
      else if (byte === BACKSLASH) this.#escaped = true
      else if (byte === QUOTE) {
        this.#inString = false
        return at + 1
      }
    }
    return at
  }

  /** Takes a byte that is neither space nor inside a string; true when it ends the element. */
  #takes(byte: number, at: number): boolean {
    const comma = this.#comma
    this.#comma = -1
    if (byte === COMMA) return this.#takeComma(at)
    if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) return this.#close(byte, at)
    if (byte === OPEN_OBJECT || byte === OPEN_LIST) return this.#openBracket(byte, at, comma)
    if (byte === COLON) {
      this.#inRun = false
      this.#valueMayCome = true
      return false
    }
    if (!this.#valueMayCome && !this.#inRun) this.#break()
    this.#inRun = byte !== QUOTE
    this.#inString = byte === QUOTE && !this.broken
    this.#valueMayCome = false
    this.#hadValue = true
    return false
  }

  #takeComma(at: number): boolean {
    if (this.#open.length === 0) return this.#endAt(at)
    this.#inRun = false
    this.#valueMayCome = true
    this.#comma = at
    return false
  }

  #openBracket(byte: number, at: number, comma: number): boolean {
    const depth = this.#open.length
    // A comma is missing between two elements.
    if (depth === 0 && this.#hadValue && byte === OPEN_OBJECT) return this.#endAt(at)
    const isKeyPlace = comma >= 0 && this.#open[depth - 1] === CLOSE_OBJECT
    if (isKeyPlace && depth === 1 && byte === OPEN_OBJECT) return this.#breakAt(this.forgetful ? at : comma)
    if (isKeyPlace || !this.#valueMayCome) this.#break()
    this.#open.push(byte === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_LIST)
    this.#inRun = false
    this.#valueMayCome = true
    this.#hadValue = true
    return false
  }

  #close(byte: number, at: number): boolean {
    const depth = this.#open.length
    if (depth === 0 && byte === CLOSE_LIST) return this.#endAt(at)
    const opened = this.#open.lastIndexOf(byte)
    if (opened !== depth - 1 || depth === 0) this.#break()
    if (opened >= 0) this.#open.length = opened
    this.#inRun = false
    this.#valueMayCome = false
    this.#hadValue = true
    return false
  }

  #break(): void {
    this.broken = true
    this.#inString = false
  }

  #breakAt(end: number): true {
    this.#break()
    return this.#endAt(end)
  }

  #endAt(end: number): true {
    this.end = end
    return true
  }
}
