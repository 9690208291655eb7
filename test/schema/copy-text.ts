/** A row of COPY text format by the rules of PostgreSQL's manual, character by character: null for `\N`. */
export function decodeCopyRow(row: string): (string | null)[] {
  const fields: (string | null)[] = []
  let field = ""
  let raw = ""
  const controls = new Map([
    ["b", "\b"],
    ["f", "\f"],
    ["n", "\n"],
    ["r", "\r"],
    ["t", "\t"],
    ["v", "\v"],
  ])
  const finish = (): void => {
    fields.push(raw === "\\N" ? null : field)
    field = ""
    raw = ""
  }
  for (let i = 0; i < row.length; i++) {
    const character = row.charAt(i)
    if (character === "\n" || character === "\r") throw new Error("a raw line end within a row")
    if (character === "\t") {
      finish()
      continue
    }
    if (character !== "\\") {
      field += character
      raw += character
      continue
    }
    i += 1
    const escaped = row.charAt(i)
    if (escaped === "" || /[0-7x]/.test(escaped)) throw new Error("an escape that the encoder never writes")
    field += controls.get(escaped) ?? escaped
    raw += character + escaped
  }
  finish()
  return fields
}
