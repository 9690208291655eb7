import { spawn } from "node:child_process"
import { stat } from "node:fs/promises"
import { SpillwayError } from "../core/errors.ts"

/** The account that the server runs as; undefined: the one that runs this process. PostgreSQL refuses to run as root. */
export type ServerUser = { readonly uid: number; readonly gid: number } | undefined

export interface Outcome {
  /** The exit code; null when a signal ended the process. */
  readonly code: number | null
  /** Standard output and standard error, as they came. */
  readonly output: string
}

export const isRoot = (): boolean => process.getuid?.() === 0

/**
 * Who the server of the project in `directory` is to run as: for root the folder's owner, `postgres` or `nobody`, whichever
 * is the first that is an account of this machine other than root. Throws `CONFIG` when there is none.
 */
export async function chooseServerUser(directory: string): Promise<ServerUser> {
  if (!isRoot()) return undefined
  const owner = await stat(directory)
  for (const name of [String(owner.uid), "postgres", "nobody"]) {
    const user = await account(name)
    if (user !== undefined && user.uid !== 0) return user
  }
  throw new SpillwayError(
    "CONFIG",
    "the embedded PostgreSQL cannot run as root, and this machine has no other account for it",
    {
      hint: "run as an ordinary user, add an account named postgres, or set DATABASE_URL",
    },
  )
}

async function account(name: string): Promise<ServerUser> {
  const [uid, gid] = await Promise.all([
    runAs(undefined, "id", ["-u", name], "/"),
    runAs(undefined, "id", ["-g", name], "/"),
  ])
  if (uid.code !== 0 || gid.code !== 0) return undefined
  return { uid: Number(uid.output), gid: Number(gid.output) }
}

/** Whether `user` can reach what lies in `folder`, tried as that user: every parent counts. */
export async function canEnter(user: ServerUser, folder: string): Promise<boolean> {
  if (user === undefined) return true
  return (await runAs(user, "/bin/sh", ["-c", 'cd -- "$0"', folder], "/")).code === 0
}

/** Runs a program as `user` and waits for its end. Rejects with the operating system's error when it cannot be started. */
export function runAs(
  user: ServerUser,
  file: string,
  args: readonly string[],
  cwd: string,
  input = "",
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...identity(user), cwd, env: serverEnvironment(), stdio: "pipe" })
    let output = ""
    const collect = (chunk: Buffer) => (output += chunk.toString())
    child.stdout.on("data", collect)
    child.stderr.on("data", collect)
    // A program that ends without reading its input is judged by its exit code.
    child.stdin.on("error", () => undefined)
    child.stdin.end(input)
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, output }))
  })
}

/** The `uid` and `gid` options of `spawn`. They are signed there: macOS's nobody is -2. */
export const identity = (user: ServerUser): { uid?: number; gid?: number } =>
  user === undefined ? {} : { uid: user.uid | 0, gid: user.gid | 0 }

/** This process's environment without what would steer PostgreSQL or translate its messages. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG[A-Z]+|LC_\w+|LANG|LANGUAGE|TZ)$/.test(name))
  return { ...Object.fromEntries(kept), LC_ALL: "C" }
}
