import type { Format } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { ParquetReader } from "./parquet-reader.ts"

export interface ParquetOptions {
  /** Bytes without any annotation are text (as older writers left it), not `\x…`. Default false. */
  binaryAsText?: boolean
}

/** Rows of a batch. */
const BATCH_ROWS = 8_192

/**
 * Parquet, by the optional package `hyparquet` (and `hyparquet-compressors` for all but Snappy). Decimals and 64-bit integers keep every digit:
 * they are numbers where a double holds them, otherwise text, and text wherever the schema wants every digit. Timestamps are ISO 8601 with all their
 * digits and `Z` where the column counts in UTC, without a zone where it does not; binary is `\x` and hexadecimal digits; lists are arrays, maps
 * and structs objects. A row's place is its number. A row group is in memory as a whole. Reading throws `CONFIG` when a package is missing, `DECODE`
 * for a damaged file, `RESOURCE` for a row group above 1 GiB.
 */
export function parquet(options: ParquetOptions = {}): Format {
  return parquetInBatches(options, BATCH_ROWS)
}

/** `parquet` with batches of another size. */
export function parquetInBatches({ binaryAsText = false }: ParquetOptions, batchRows: number): Format {
  return {
    name: "parquet",
    untyped: false,
    description: { format: "parquet", binaryAsText },
    decoder() {
      throw new SpillwayError(
        "CONFIG",
        "Parquet has its table of contents at its end: it cannot be read from a stream",
        {
          hint: "store it as a file, uncompressed on the outside, and name that",
        },
      )
    },
    reader: (file, decoding) => new ParquetReader(file, decoding, { binaryAsText, batchRows }),
  }
}
