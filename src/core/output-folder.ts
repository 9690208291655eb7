import type { JsonValue } from "./json.ts"
import type { Ports } from "./ports.ts"

/** A place in a storage that whole files are put into. */
export interface OutputFolder {
  /** Names of the files in it. */
  list(): Promise<readonly string[]>
  /** Whether the file of this name was put there from just the bytes that the file at `path` on this machine has. */
  holds(name: string, path: string): Promise<boolean>
  /** Puts the file at `path` there under this name, at once and whole; in place of one that has the name. */
  put(name: string, path: string): Promise<void>
  /** Removes a file; one that is not there is no mistake. */
  remove(name: string): Promise<void>
}

/** Where folders are that are no folders of this machine. */
export interface FolderStorage {
  /** Part of the pipeline's definition version; holds no secret. */
  readonly description: JsonValue
  /** The folder at `s3://bucket/prefix`. Throws `CONFIG` for an address that is none. */
  folder(address: string, ports: Ports): OutputFolder
}
