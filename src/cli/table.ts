// Colour codes take no room on the screen
const COLOR = /\u001b\[[0-9;]*m/g

/** Columns that `text` takes up, colours aside. */
export const visibleWidth = (text: string): number => [...text.replace(COLOR, "")].length

/** `text` cut to `width` columns, with `…` where something is missing. For text without colours. */
export function cut(text: string, width: number): string {
  const characters = [...text]
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join("")}…`
}

/** Rows in aligned columns, two spaces apart, `indent` before each; `right` names the columns of figures. */
export function columns(
  rows: readonly (readonly string[])[],
  options: { indent?: string; right?: readonly number[] } = {},
): string[] {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, visibleWidth(cell))))
  return rows.map((row) => {
    const cells = row.map((cell, i) => {
      const padding = " ".repeat((widths[i] ?? 0) - visibleWidth(cell))
      return options.right?.includes(i) ? padding + cell : cell + padding
    })
    return `${options.indent ?? ""}${cells.join("  ")}`.trimEnd()
  })
}

/** `text` in lines of at most `width` columns, broken between words. For text without colours. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line]
}
