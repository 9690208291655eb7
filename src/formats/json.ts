import type { Format } from "../core/contracts.ts"
import { DEFAULT_LIMITS, type BatchLimits } from "./chunked-decoder.ts"
import { objectOf } from "./jsonl-batch.ts"
import { JsonArrayDecoder } from "./json-array-decoder.ts"

/**
 * A JSON array of objects, of any length and in any layout. An element that is something else is a `DecodeFault` with one of
 * the rules `json`, `not_object`, `nul`, `utf8`, `too_long`, and costs no other element as long as its brackets close
 * or another element begins on a line of its own: reading goes on there. Elements are numbered from 1; their place is the line they
 * begin on. A document that is no array throws `DECODE`, as do UTF-16 and one that ends before its array does (after
 * the elements it has). Numbers of top-level properties in `DecoderOptions.exact` keep every digit, as in `jsonl`.
 */
export function json(): Format {
  return jsonInBatches(DEFAULT_LIMITS)
}

/** `json` with batches of another size. */
export function jsonInBatches(limits: BatchLimits): Format {
  return {
    name: "json",
    untyped: false,
    description: { format: "json" },
    record: (raw, _columns, { exact }) => objectOf(raw, exact, "element"),
    decoder: (options) => new JsonArrayDecoder(limits, options),
  }
}
