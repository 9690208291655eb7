import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { RecordSchema } from "../core/contracts.ts"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { Files } from "../core/files.ts"
import { toRecordSchema, type AnySchema } from "../schema/adapter.ts"
import { builtinSchema } from "../schema/builtins.ts"
import { isStandardSchema } from "../schema/standard.ts"

const FORMS = "it is builtins.ProductRecord, FILE.ts#Name, or a JSON Schema in FILE.json"

/**
 * The schema that a reference names: `builtins.Name`; `file.ts#Name`, an export of a module (without `#Name` its default or only schema);
 * `schema.json`, a JSON Schema. Paths start from `directory`. Throws `CONFIG`.
 */
export async function schemaOf(reference: string, directory: string, files: Files): Promise<RecordSchema> {
  if (reference.startsWith("builtins.")) return toRecordSchema(builtinSchema(reference.slice("builtins.".length)))
  const [path = "", name] = splitAtHash(reference)
  const file = resolve(directory, path)
  const isModule = /\.[cm]?[jt]s$/i.test(path)
  if (!isModule && !/\.json$/i.test(path))
    throw new SpillwayError("CONFIG", `${JSON.stringify(reference)} does not name a schema`, { hint: FORMS })
  if (!isModule && name !== undefined)
    throw new SpillwayError("CONFIG", `a JSON Schema has no export ${JSON.stringify(name)}`, {
      where: file,
      hint: "leave out # and what follows",
    })
  const text = await readText(file, files)
  const schema = isModule ? exported(await importModule(file), name, file) : asJson(text, file)
  try {
    return toRecordSchema(schema as AnySchema)
  } catch (error) {
    if (!(error instanceof SpillwayError)) throw error
    throw new SpillwayError(error.code, error.message, {
      ...error,
      where: error.where ?? file,
      hint: error.hint,
      cause: error,
    })
  }
}

function splitAtHash(reference: string): [string, string?] {
  const at = reference.lastIndexOf("#")
  return at < 0 ? [reference] : [reference.slice(0, at), reference.slice(at + 1)]
}

async function readText(file: string, files: Files): Promise<string> {
  try {
    return await files.readText(file)
  } catch (error) {
    throw new SpillwayError("CONFIG", `the schema cannot be read (${systemCode(error) ?? String(error)})`, {
      where: file,
      cause: error,
      hint: "check the path; it starts from this folder",
    })
  }
}

function asJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new SpillwayError("CONFIG", `the schema is not JSON: ${messageOf(error)}`, {
      where: file,
      cause: error,
      hint: "mend the file",
    })
  }
}

async function importModule(file: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>
  } catch (error) {
    throw new SpillwayError("CONFIG", `the schema's module failed while it was loaded: ${messageOf(error)}`, {
      where: file,
      cause: error,
      hint: "mend the module; what it imports has to be installed in its folder; --verbose shows the whole trace",
    })
  }
}

function exported(module: Record<string, unknown>, name: string | undefined, file: string): unknown {
  if (name !== undefined) {
    if (Object.hasOwn(module, name)) return module[name]
    throw new SpillwayError("CONFIG", `the module has no export ${JSON.stringify(name)}`, {
      where: file,
      hint: choices(module),
    })
  }
  if (isStandardSchema(module["default"])) return module["default"]
  const schemas = Object.values(module).filter(isStandardSchema)
  if (schemas.length === 1) return schemas[0]
  throw new SpillwayError("CONFIG", "which export of the module is the schema is not said", {
    where: file,
    hint: choices(module),
  })
}

function choices(module: Record<string, unknown>): string {
  const names = Object.keys(module).filter((name) => isStandardSchema(module[name]))
  return names.length === 0 ? "it exports no schema" : `it exports ${names.map((name) => `#${name}`).join(", ")}`
}

const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? ""
