import { spawn } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SpillwayError } from "../core/errors.ts"

/** Opens `text` in the user's editor (`VISUAL`, `EDITOR`, else `vi`) and gives what it was when the editor was left. Throws `CONFIG`. */
export async function edited(
  text: string,
  name: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  // Only its owner may read it: the record is shown unmasked.
  const folder = await mkdtemp(join(tmpdir(), "spillway-edit-"))
  const file = join(folder, name)
  try {
    await writeFile(file, text, { mode: 0o600 })
    await leave(env["VISUAL"] || env["EDITOR"] || "vi", file)
    return await readFile(file, "utf8")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Runs the editor, which may come with arguments (`code --wait`), until it is left. */
function leave(editor: string, file: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", `${editor} "$1"`, "sh", file], { stdio: "inherit" })
    const failed = (why: string): SpillwayError =>
      new SpillwayError("CONFIG", `the editor ${JSON.stringify(editor)} ${why}; nothing was changed`, {
        hint: "name another one: EDITOR=nano spillway dlq edit …",
      })
    child.once("error", (error) => reject(failed(`cannot be started (${error.message})`)))
    child.once("close", (code) => (code === 0 ? resolve() : reject(failed(`ended with ${code ?? "a signal"}`))))
  })
}
