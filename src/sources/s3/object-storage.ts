import type { JsonValue } from "../../core/json.ts"

/** Where `s3://` patterns of `files` are looked up: what `s3()` gives. */
export interface ObjectStorage {
  readonly kind: "s3"
  /** Part of the pipeline's definition version; holds no secret. */
  readonly description: JsonValue
  /**
   * The one client, made when it is first asked for. Throws `CONFIG` when the package is missing. Its type is not told here, so that
   * the types of `files` do without the optional package.
   */
  client(): Promise<unknown>
}
