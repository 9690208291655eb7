/** Edits (insert, delete, replace, swap neighbours) that make `b` of `a`. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let best = Math.min(at(rows, i - 1, j) + 1, (row[j - 1] ?? 0) + 1, at(rows, i - 1, j - 1) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, at(rows, i - 2, j - 2) + 1)
      row.push(best)
    }
    rows.push(row)
  }
  return at(rows, a.length, b.length)
}

const at = (rows: readonly (readonly number[])[], i: number, j: number): number => rows[i]?.[j] ?? 0

/** What the user probably meant: the candidate nearest to `text`, if one is near; case does not count. */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
  const scored = candidates
    .map((candidate) => ({ candidate, edits: distance(text.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits)
  const best = scored[0]
  return best !== undefined && best.edits <= Math.max(2, Math.floor(text.length * 0.4)) ? best.candidate : undefined
}

/** `did you mean "x"?` before `otherwise`, where something is near. */
export function suggestion(text: string, candidates: readonly string[], otherwise: string): string {
  const near = nearest(text, candidates)
  return near === undefined ? otherwise : `did you mean "${near}"? ${otherwise}`
}
