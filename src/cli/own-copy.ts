import { createRequire } from "node:module"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

/** Of the copy of Spillway that this module belongs to, in src/ and, bundled, in dist/. */
const OWN_MANIFEST = fileURLToPath(new URL("../../package.json", import.meta.url))

/**
 * The command line of the copy of Spillway that a project imports, where that is not this one: a global install, say, run in a
 * project that has its own. Two copies in one process do not know each other's classes: schemas would go the slow way, and errors
 * would not be recognised. Undefined where the project has none, or this one.
 */
export function commandOfProject(args: readonly string[], directory: string): string | undefined {
  try {
    const manifest = createRequire(join(startOf(args, directory), "start.js")).resolve("spillway/package.json")
    return manifest === OWN_MANIFEST ? undefined : join(dirname(manifest), "dist/cli/main.js")
  } catch {
    return undefined
  }
}

/** The folder that packages are looked for from: of a project that is named by its file, that file's. */
function startOf(args: readonly string[], directory: string): string {
  const at = args.findLastIndex((arg) => arg === "--project" || arg.startsWith("--project="))
  const given = at < 0 ? "." : ((args[at]?.slice("--project=".length) || args[at + 1]) ?? ".")
  const path = resolve(directory, given)
  return /\.[cm]?[jt]s$/.test(path) ? dirname(path) : path
}
