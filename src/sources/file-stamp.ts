import { createHash } from "node:crypto"
import type { SourceContext } from "../core/contracts.ts"
import type { FileStat } from "../core/files.ts"
import type { JsonValue } from "../core/json.ts"

/** A change this shortly before a file is hashed may be followed by another that its times do not show. */
const RACY_MS = 2_000
const NS_PER_MS = 1_000_000n

/** What tells cheaply whether a file is still the same. */
export interface FileStamp {
  readonly size: number
  /** Nanoseconds since the epoch, as text; `changed` covers content and attributes. */
  readonly modified: string
  readonly changed: string
  readonly inode: string
  /** Taken so soon after a change that it must not be trusted next time. */
  readonly racy?: true
}

/** The stamp of a file about to be hashed at `now` (milliseconds). */
export function stampOf(stat: FileStat, now: number): FileStamp {
  const latest = [BigInt(stat.modified), BigInt(stat.changed)].reduce((a, b) => (a > b ? a : b))
  const racy = latest / NS_PER_MS > BigInt(Math.floor(now)) - BigInt(RACY_MS)
  return {
    size: stat.size,
    modified: stat.modified,
    changed: stat.changed,
    inode: stat.inode,
    ...(racy ? { racy } : {}),
  }
}

/** Whether `stat` is that of the file the stamp was taken of. */
export function isSameFile(stat: FileStat, stamp: JsonValue): boolean {
  const noted = asStamp(stamp)
  return (
    noted !== undefined &&
    noted.size === stat.size &&
    noted.modified === stat.modified &&
    noted.changed === stat.changed &&
    noted.inode === stat.inode
  )
}

/** Whether the stamp is good evidence, for a file it matches, that the content is the same. */
export function isTrustworthy(stamp: JsonValue): boolean {
  return asStamp(stamp)?.racy === undefined
}

export function asStamp(stamp: JsonValue): FileStamp | undefined {
  const isObject = typeof stamp === "object" && stamp !== null && !Array.isArray(stamp)
  return isObject ? (stamp as unknown as FileStamp) : undefined
}

/** `sha256:` and the hash of a file's bytes as they are stored. */
export async function contentVersion(path: string, context: SourceContext): Promise<string> {
  const hash = createHash("sha256")
  for await (const chunk of context.ports.files.chunks(path, { signal: context.signal })) hash.update(chunk)
  return `sha256:${hash.digest("hex")}`
}
