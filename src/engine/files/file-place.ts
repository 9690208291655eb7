import { createHash } from "node:crypto"
import { join, resolve } from "node:path"
import { namesIn } from "../../core/files.ts"
import type { OutputFolder } from "../../core/output-folder.ts"
import type { Ports } from "../../core/ports.ts"
import { isTemporary, temporaryName } from "./file-names.ts"
import { sameContent } from "./file-parts.ts"
import type { FileSink } from "./file-sink.ts"

/** Where a sink's files are, and where they are written before they have their names there. */
export interface FilePlace {
  /** For messages. */
  readonly shown: string
  /** Makes the folders that are missing. */
  prepare(): Promise<void>
  /** The names of what is there, and of what was written and has not got its name. */
  names(): Promise<readonly string[]>
  /** Where the file of this name is written first. */
  temporary(name: string): string
  /** Whether the file that is written has the bytes of the one that has its name. */
  isSame(name: string): Promise<boolean>
  /** Gives the files that are written their names, each whole and at once; for good when it resolves. Those of `same` go. */
  reveal(names: readonly { readonly name: string; readonly same: boolean }[]): Promise<void>
  remove(name: string): Promise<void>
}

/** A folder of this machine: written beside where they end, and renamed. */
function localPlace(folder: string, { files }: Ports): FilePlace {
  const temporary = (name: string): string => join(folder, temporaryName(name))
  return {
    shown: folder,
    temporary,
    prepare: () => files.makeDirectory(folder),
    names: () => namesIn(folder, files),
    isSame: (name) => sameContent(files, join(folder, name), temporary(name)),
    async reveal(names) {
      for (const { name, same } of names)
        await (same ? files.remove(temporary(name)) : files.rename(temporary(name), join(folder, name)))
      await files.syncFolder(folder)
    },
    remove: (name) => files.remove(join(folder, name)),
  }
}

/** A folder elsewhere: written in `spool` on this machine, and put there whole. */
function remotePlace(shown: string, folder: OutputFolder, spool: string, { files }: Ports): FilePlace {
  const temporary = (name: string): string => join(spool, temporaryName(name))
  return {
    shown,
    temporary,
    prepare: () => files.makeDirectory(spool),
    names: async () => [...(await folder.list()), ...(await namesIn(spool, files)).filter(isTemporary)],
    isSame: (name) => folder.holds(name, temporary(name)),
    async reveal(names) {
      for (const { name, same } of names) {
        if (!same) await folder.put(name, temporary(name))
        await files.remove(temporary(name))
      }
    },
    remove: (name) => (isTemporary(name) ? files.remove(join(spool, name)) : folder.remove(name)),
  }
}

/** The place of a sink's files; relative folders start at `directory`. */
export function filePlace(sink: FileSink, directory: string, ports: Ports): FilePlace {
  if (sink.storage === undefined) return localPlace(resolve(directory, sink.folder), ports)
  const name = createHash("sha256").update(sink.folder).digest("hex").slice(0, 16)
  const spool = resolve(directory, ".spillway", "output", name)
  return remotePlace(sink.folder, sink.storage.folder(sink.folder, ports), spool, ports)
}
