import {
  BEYOND_ASCII,
  COPY_ESCAPES,
  CSV_QUOTES,
  JSON_ESCAPES,
  SURE,
  UNSURE,
  type ByteJudge,
} from "../core/byte-check.ts"
import { automaton } from "./automaton.ts"

/** A control character: left to the long way. */
const ODD = 1 << 30

/** What each byte in a text means for those who write it: bits of a verdict. */
const TRAITS = new Int32Array(256).map((_, byte) => {
  switch (byte) {
    case 0x09:
      return COPY_ESCAPES | JSON_ESCAPES
    case 0x0a:
    case 0x0d:
      return COPY_ESCAPES | JSON_ESCAPES | CSV_QUOTES
    case 0x22:
      return CSV_QUOTES | JSON_ESCAPES
    case 0x2c:
      return CSV_QUOTES
    case 0x5c:
      return COPY_ESCAPES | JSON_ESCAPES
    default:
      return byte < 0x20 ? ODD : byte < 0x80 ? 0 : BEYOND_ASCII
  }
})

/** The verdict's bits for a text that is right; UNSURE for odd ones. */
function traitsOf(bytes: Uint8Array, from: number, to: number): number {
  let traits = SURE
  for (let at = from; at < to; at++) traits |= TRAITS[bytes[at] as number] as number
  return traits >= ODD ? UNSURE : traits
}

export const textJudge =
  (least: number, most: number): ByteJudge =>
  (bytes, from, to) => {
    let traits = SURE
    for (let at = from; at < to; at++) traits |= TRAITS[bytes[at] as number] as number
    if (traits >= ODD) return UNSURE
    const length = (traits & BEYOND_ASCII) === 0 ? to - from : charactersIn(bytes, from, to)
    return length < least || length > most ? UNSURE : traits
  }

/** For plain text, in which a character is a byte. */
export const plainTextJudge =
  (least: number, most: number): ByteJudge =>
  (_, from, to) =>
    to - from < least || to - from > most ? UNSURE : SURE

/** Characters of UTF-8. */
function charactersIn(bytes: Uint8Array, from: number, to: number): number {
  let count = 0
  for (let at = from; at < to; at++) if (((bytes[at] as number) & 0xc0) !== 0x80) count++
  return count
}

export function memberJudge(values: readonly string[]): ByteJudge {
  const known = values
    .map((value) => Buffer.from(value))
    .filter((bytes, n) => bytes.length > 0 && bytes.toString() === values[n])
    .map((bytes) => ({ bytes, verdict: traitsOf(bytes, 0, bytes.length) }))
  const byLength = Map.groupBy(known, ({ bytes }) => bytes.length)
  const longest = Math.max(0, ...byLength.keys())
  const candidates = Array.from({ length: longest + 1 }, (_, length) => byLength.get(length) ?? [])
  return (bytes, from, to) => {
    if (to - from > longest) return UNSURE
    for (const { bytes: value, verdict } of candidates[to - from] ?? []) {
      let at = 0
      while (at < value.length && bytes[from + at] === value[at]) at++
      if (at === value.length) return verdict
    }
    return UNSURE
  }
}

/** Texts of ASCII that match; undefined for a pattern that is not plainly regular. */
export function patternJudge(pattern: RegExp): ByteJudge | undefined {
  const machine = automaton(pattern)
  return machine && ((bytes, from, to) => (machine.accepts(bytes, from, to) ? SURE : UNSURE))
}
