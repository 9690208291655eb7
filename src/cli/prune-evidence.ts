import { join } from "node:path"
import { namesIn } from "../core/files.ts"
import { EVIDENCE_FOLDER } from "../core/evidence-folder.ts"
import type { Ports } from "../core/ports.ts"

/** A page whose letters are on their way into the database has been seen not long ago. */
const YOUNGEST_MS = 86_400_000

/**
 * Removes files of evidence that no letter names, where they are older than a day; with `dryRun` none. Gives how many they are. `named`: as letters name
 * them; asked for after the files were listed.
 */
export async function pruneEvidence(
  directory: string,
  named: () => Promise<ReadonlySet<string>>,
  { files, clock }: Pick<Ports, "files" | "clock">,
  options: { readonly dryRun: boolean; readonly signal: AbortSignal },
): Promise<number> {
  const there = await namesIn(join(directory, EVIDENCE_FOLDER), files)
  if (there.length === 0) return 0
  const kept = await named()
  const before = clock.now() - YOUNGEST_MS
  let removed = 0
  for (const name of there.filter((file) => !kept.has(join(EVIDENCE_FOLDER, file)))) {
    options.signal.throwIfAborted()
    const path = join(directory, EVIDENCE_FOLDER, name)
    if (Number(BigInt((await files.stat(path)).modified) / 1_000_000n) > before) continue
    if (!options.dryRun) await files.remove(path)
    removed++
  }
  return removed
}
