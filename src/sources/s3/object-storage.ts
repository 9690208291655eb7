import type { FolderStorage } from "../../core/output-folder.ts"

/** Where `s3://` patterns of `files` are looked up, and `s3://` folders of sinks are: what `s3()` gives. */
export interface ObjectStorage extends FolderStorage {
  readonly kind: "s3"
  /**
   * The one client, made when it is first asked for. Throws `CONFIG` when the package is missing. Its type is not told here, so that
   * the types of `files` do without the optional package.
   */
  client(): Promise<unknown>
}
