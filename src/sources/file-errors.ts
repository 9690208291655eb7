import { SpillwayError, systemCode } from "../core/errors.ts"

const HINTS: Record<string, string> = {
  EACCES: "give the user that runs this permission to read it",
  EPERM: "give the user that runs this permission to read it",
  EISDIR: "a folder stands where a file is expected: rename it, or name the files inside it in the pattern",
  ENOTFILE: 'it is neither a file nor a folder; to read what is piped in, use the pattern "-"',
  ELOOP: "a symbolic link leads back to itself: remove it",
  EMFILE: "too many files are open: raise the limit (ulimit -n)",
}

/** The error that holds a file which the operating system does not let be read, by the code it gave. */
export function unreadable(code: string, path: string, cause?: unknown): SpillwayError {
  if (code === "ENOENT" || code === "ENOTDIR") return vanished(path, cause)
  return new SpillwayError("RESOURCE", `the file cannot be read (${code})`, {
    where: path,
    hint: HINTS[code] ?? "check the disk and the permissions, then run again",
    cause,
  })
}

export function vanished(path: string, cause?: unknown): SpillwayError {
  return new SpillwayError("DATA_LOSS", "the file is gone, though it was listed", {
    class: "transient",
    where: path,
    hint: "put it back, or run again: the next run lists what is there then",
    cause,
  })
}

export function changedWhileRead(path: string): SpillwayError {
  return new SpillwayError("DATA_LOSS", "the file was changed while it was read", {
    class: "transient",
    where: path,
    hint: "run again once it is complete; write files under another name and rename them when they are done",
  })
}

/** Any failure to read `path`, with the file's name in `where`. What is no failure of reading is given back as it is. */
export function asFileError(error: unknown, path: string): unknown {
  if (error instanceof SpillwayError) return located(error, path)
  const code = systemCode(error)
  return code !== undefined && /^E[A-Z0-9]+$/.test(code) ? unreadable(code, path, error) : error
}

function located(error: SpillwayError, path: string): SpillwayError {
  if (error.where === path) return error
  const line = error.context["line"]
  const { code, message, hint, cause, context } = error
  const where = typeof line === "number" ? `${path}:${line}` : path
  return new SpillwayError(code, message, { hint, where, cause, context, class: error.class })
}
