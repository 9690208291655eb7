import { readLetterFiles, type LetterInput } from "./letter-files.ts"
import { LetterTally, type TallyOptions } from "./letter-tally.ts"
import type { TriageReport } from "./triage-report.ts"

/**
 * Sums up the dead letters of a file, a folder or standard input (`-`), in constant memory. Throws `CONFIG` (not found) and
 * `RESOURCE`; what is not a letter is counted in the report.
 */
export async function triageFiles(
  input: LetterInput,
  options: TallyOptions & { readonly groups: number },
): Promise<TriageReport> {
  const tally = new LetterTally(options)
  for await (const _block of readLetterFiles(input, tally));
  return tally.report(options.groups)
}
