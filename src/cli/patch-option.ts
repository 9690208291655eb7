import { createHash } from "node:crypto"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { Files } from "../core/files.ts"
import type { JsonValue } from "../core/json.ts"
import { mergePatch, type Fix, type Patch } from "../dead-letters/patch.ts"
import { usageError } from "./errors.ts"

const FORMS = `give a JSON Merge Patch ('{"price": null}'), a file with one (patch.json), or a function (fix.ts#fix)`

/** What `--patch` names. Paths start from `directory`. Throws `CONFIG`. */
export async function patchOption(text: string, directory: string, files: Files): Promise<Patch> {
  const given = text.trim()
  if (given.startsWith("{")) return mergePatch(asObject(given, "--patch"))
  const hash = given.lastIndexOf("#")
  const [path, name] = hash < 0 ? [given, undefined] : [given.slice(0, hash), given.slice(hash + 1)]
  const file = resolve(directory, path)
  if (/\.json$/i.test(path)) return mergePatch(asObject(await textOf(file, files), file))
  if (/\.[cm]?[jt]s$/i.test(path)) return functionOf(file, name, await textOf(file, files))
  throw usageError(`--patch ${JSON.stringify(text)} is neither a patch nor a file with one`, FORMS)
}

async function textOf(file: string, files: Files): Promise<string> {
  try {
    return await files.readText(file)
  } catch (error) {
    throw new SpillwayError("CONFIG", `the patch cannot be read (${systemCode(error) ?? String(error)})`, {
      where: file,
      cause: error,
      hint: "check the path; it starts from this folder",
    })
  }
}

function asObject(text: string, where: string): Record<string, JsonValue> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new SpillwayError("CONFIG", `the patch is not JSON: ${error instanceof Error ? error.message : ""}`, {
      where,
      hint: FORMS,
    })
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, JsonValue>
  throw new SpillwayError("CONFIG", "the patch is not a JSON object", { where, hint: FORMS })
}

async function functionOf(file: string, name: string | undefined, text: string): Promise<Patch> {
  let module: Record<string, unknown>
  try {
    module = (await import(pathToFileURL(file).href)) as Record<string, unknown>
  } catch (error) {
    const [line] = (error instanceof Error ? error.message : String(error)).split("\n", 1)
    throw new SpillwayError("CONFIG", `the patch's module failed while it was loaded: ${line}`, {
      where: file,
      cause: error,
      hint: "mend the module; --verbose shows the whole trace",
    })
  }
  const names = Object.keys(module).filter((key) => typeof module[key] === "function")
  const chosen =
    name ?? ["default", "fix"].find((key) => names.includes(key)) ?? (names.length === 1 ? names[0] : undefined)
  const fix = chosen === undefined ? undefined : module[chosen]
  if (typeof fix !== "function")
    throw new SpillwayError(
      "CONFIG",
      `the patch's module exports no function ${chosen === undefined ? "that is meant" : `"${chosen}"`}`,
      {
        where: file,
        hint:
          names.length === 0
            ? "export function fix(record, letter) { … }"
            : `it exports ${names.map((key) => `#${key}`).join(", ")}`,
      },
    )
  // The text tells two versions of the same function apart.
  const sha256 = createHash("sha256").update(text).digest("hex")
  return { fix: fix as Fix, description: { module: file, function: chosen ?? "", sha256 } }
}
