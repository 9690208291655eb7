import { isAbsolute, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import picomatch from "picomatch"
import type { Files } from "../core/files.ts"
import { SpillwayError, systemCode } from "../core/errors.ts"
import { uncompressedName } from "../formats/compression.ts"

/** A pattern's path, with `/` between its parts. Throws `CONFIG` for an address that is no file. */
export function patternText(pattern: string | URL): string {
  if (typeof pattern === "string") return pattern
  if (pattern.protocol === "file:" && pattern.search === "" && pattern.hash === "")
    return toPosix(fileURLToPath(pattern))
  throw new SpillwayError("CONFIG", `${pattern.href} does not name files`, {
    hint: 'give a file: address without "?" and "#", or a path or glob as text',
  })
}

/** What a folder that is named as a whole contributes. */
export type FolderFilter = (name: string) => boolean

/** A file found, or a folder that stands where a file is expected. */
export interface Found {
  readonly path: string
  readonly isDirectory: boolean
}

/**
 * What a pattern (a path, a folder or a glob, from `root`) finds, in no order. Folders give the files below them that
 * `inFolder` accepts; hidden ones are left out. Throws `CONFIG` for a path or the folder of a glob that is not there.
 */
export async function findFiles(files: Files, root: string, pattern: string, inFolder: FolderFilter): Promise<Found[]> {
  const path = resolve(root, pattern)
  const kind = await kindOf(files, path)
  if (kind === "file") return [{ path, isDirectory: false }]
  if (kind === "folder") return walk(files, path, (below, isDirectory) => !isDirectory && inFolder(below), everywhere)
  const { base, glob, isGlob } = picomatch.scan(pattern)
  if (!isGlob)
    throw new SpillwayError("CONFIG", `there is no file "${pattern}"`, {
      where: path,
      hint: isAbsolute(pattern) ? "check the path" : `check the path; it starts from ${root}`,
    })
  const start = isAbsolute(pattern) ? resolve("/", base) : resolve(root, base)
  if ((await kindOf(files, start)) !== "folder")
    throw new SpillwayError("CONFIG", `there is no folder "${base}" for the pattern "${pattern}" to look in`, {
      where: start,
      hint: "create the folder, or correct the pattern",
    })
  const matches = picomatch(glob)
  const accept = (below: string, isDirectory: boolean): boolean =>
    matches(below) && (!isDirectory || hasKnownExtension(below))
  return walk(files, start, accept, glob.includes("**") ? everywhere : glob.split("/").length)
}

/** Extensions by which a format is chosen and a folder's files are. */
const KNOWN_EXTENSIONS = [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"]

/** `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` or `.parquet`, before what a compression adds; undefined for other names. */
export function knownExtension(name: string): string | undefined {
  const plain = uncompressedName(name).toLowerCase()
  return KNOWN_EXTENSIONS.find((extension) => plain.endsWith(extension))
}

const hasKnownExtension = (name: string): boolean => knownExtension(name) !== undefined

/** The path from `root` to `path` with `/` between its parts. */
export function keyOf(root: string, path: string): string {
  return toPosix(relative(root, path))
}

export function toPosix(path: string): string {
  return sep === "/" ? path : path.replaceAll(sep, "/")
}

const everywhere = Number.POSITIVE_INFINITY

/** What `accept` takes of all that is below `top` (given with its path from there), `depth` folders deep. Follows links, never in circles. */
async function walk(
  files: Files,
  top: string,
  accept: (below: string, isDirectory: boolean) => boolean,
  depth: number,
): Promise<Found[]> {
  const found: Found[] = []
  const descend = async (folder: string, below: string, above: readonly string[]): Promise<void> => {
    const { inode } = await files.stat(folder)
    if (above.includes(inode)) return
    for (const { name, isDirectory } of await listFolder(files, folder)) {
      const path = `${folder}${sep}${name}`
      const inner = below === "" ? name : `${below}/${name}`
      if (accept(inner, isDirectory)) found.push({ path, isDirectory })
      else if (isDirectory && !(depth === everywhere && name.startsWith(".")) && above.length + 1 < depth)
        await descend(path, inner, [...above, inode])
    }
  }
  await descend(top, "", [])
  return found
}

async function listFolder(files: Files, folder: string): ReturnType<Files["list"]> {
  try {
    return await files.list(folder)
  } catch (error) {
    throw new SpillwayError("RESOURCE", `the folder cannot be read (${systemCode(error) ?? "unknown reason"})`, {
      where: folder,
      hint: "give the user that runs this permission to read it",
      cause: error,
    })
  }
}

/** What stands at a path: nothing that can be seen is "none"; what is there but cannot be looked at is a file for `read` to report. */
async function kindOf(files: Files, path: string): Promise<"file" | "folder" | "none"> {
  try {
    return (await files.stat(path)).isDirectory ? "folder" : "file"
  } catch (error) {
    const code = systemCode(error)
    return code === "ENOENT" || code === "ENOTDIR" ? "none" : "file"
  }
}

export function asFolder(root: string | URL | undefined, directory: string): string {
  if (root === undefined) return resolve(directory)
  const path = typeof root === "string" ? root : fileURLToPath(root)
  return isAbsolute(path) ? path : resolve(directory, path)
}
