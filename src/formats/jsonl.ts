import type { Format } from "../core/contracts.ts"
import { ChunkedDecoder, DEFAULT_LIMITS, type BatchLimits } from "./chunked-decoder.ts"
import { objectOf } from "./jsonl-batch.ts"
import { JsonlCutter } from "./jsonl-cutter.ts"

/**
 * JSON Lines: one JSON object per line; blank lines are skipped. A line that is something else is a `DecodeFault` with
 * one of the rules `json`, `not_object`, `nul`, `utf8`, `too_long`. The numbers of top-level properties that must keep every
 * digit (`DecoderOptions.exact`) are given as the text in the file where a double could not hold them.
 */
export function jsonl(): Format {
  return jsonlInBatches(DEFAULT_LIMITS)
}

/** `jsonl` with batches of another size. */
export function jsonlInBatches(limits: BatchLimits): Format {
  return {
    name: "jsonl",
    untyped: false,
    description: { format: "jsonl" },
    record: (raw, _columns, { exact }) => objectOf(raw, exact, "line"),
    decoder: (options) => new ChunkedDecoder(new JsonlCutter(limits, options), limits.bytes, options.maxRecordBytes),
  }
}
