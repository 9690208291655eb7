import { SpillwayError } from "../core/errors.ts"

/** Bytes that must be at hand to tell a byte order mark. */
export const MARK_BYTES = 3

/**
 * The length of the UTF-8 byte order mark that `head` (the first bytes of a file) begins with: 3, or 0 without one.
 * Throws `DECODE` when the mark says UTF-16 or UTF-32, which no text format here reads.
 */
export function byteOrderMark(head: Uint8Array): number {
  const [first, second, third] = head
  if (first === 0xef && second === 0xbb && third === 0xbf) return MARK_BYTES
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    throw new SpillwayError("DECODE", "the text is UTF-16, not UTF-8 (by its byte order mark)", {
      hint: "convert the file first: iconv -f UTF-16 -t UTF-8",
    })
  return 0
}
