import { dirname, isAbsolute, join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseEnv } from "node:util"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { Files } from "../core/files.ts"
import { registerSecret } from "../core/secrets.ts"
import type { Project } from "../engine/project.ts"
import { notFound, recogniseError } from "./errors.ts"

/** Looked for in this order. */
const CONFIG_NAMES = ["spillway.config.ts", "spillway.config.js", "spillway.config.mjs"]

export interface ProjectPlace {
  /** The project's configuration. */
  readonly file: string
  /** The folder that relative paths start from; `.env` and `.spillway` lie there. */
  readonly directory: string
}

export interface LoadedProject extends ProjectPlace {
  readonly project: Project
}

type Environment = Record<string, string | undefined>

/** Finds the project's configuration: `given` is a file or a folder, by default the folder the command runs in. Throws `CONFIG` (not found). */
export async function locateProject(
  given: string | undefined,
  workingDirectory: string,
  files: Files,
): Promise<ProjectPlace> {
  const path = given === undefined ? workingDirectory : isAbsolute(given) ? given : resolve(workingDirectory, given)
  const stat = await statOf(files, path)
  if (stat?.isFile) return { file: path, directory: dirname(path) }
  if (stat?.isDirectory) {
    for (const name of CONFIG_NAMES)
      if ((await statOf(files, join(path, name)))?.isFile) return { file: join(path, name), directory: path }
    throw notFound(`there is no ${CONFIG_NAMES[0]} in ${given ?? "this folder"}`, {
      where: path,
      hint: "go to the project's folder, or name it: --project DIR",
    })
  }
  throw notFound(`there is no project at ${given}`, {
    where: path,
    hint: "--project takes a folder with a spillway.config.ts, or such a file",
  })
}

/**
 * The folder of a project, for what needs only its database: also one without a project file, as a program that uses the library
 * has it, when a database was made there. Throws as `locateProject` does.
 */
export async function locateFolder(given: string | undefined, workingDirectory: string, files: Files): Promise<string> {
  const path = resolve(workingDirectory, given ?? ".")
  if ((await statOf(files, join(path, ".spillway")))?.isDirectory) return path
  return (await locateProject(given, workingDirectory, files)).directory
}

/** Finds and imports the project. `.env` of its folder is put into `env` first; what is set there already stays. Throws `CONFIG`. */
export async function loadProject(
  given: string | undefined,
  world: { readonly directory: string; readonly env: Environment; readonly files: Files },
): Promise<LoadedProject> {
  const place = await locateProject(given, world.directory, world.files)
  await loadDotEnv(place.directory, world.env, world.files)
  const exported = await importConfig(place)
  return { ...place, project: asProject(exported, place.file) }
}

async function loadDotEnv(directory: string, env: Environment, files: Files): Promise<void> {
  const path = join(directory, ".env")
  if ((await statOf(files, path))?.isFile) {
    for (const [name, value] of Object.entries(parseEnv(await files.readText(path)))) env[name] ??= value
  }
  const password = env["DB_PASSWORD"]
  // A password equal to the user's name hides nothing, and would blot out the name.
  if (password !== undefined && password !== env["DB_USER"]) registerSecret(password)
}

async function importConfig(place: ProjectPlace): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(place.file).href)) as Record<string, unknown>
  } catch (thrown) {
    throw importError(thrown, place)
  }
}

function importError(thrown: unknown, place: ProjectPlace): SpillwayError {
  const error = recogniseError(thrown)
  const where = error.where ?? placeOf(thrown, place) ?? place.file
  if (error.code !== "UNKNOWN")
    return new SpillwayError(error.code, error.message, { ...error, where, hint: error.hint, cause: thrown })
  const code = systemCode(thrown)
  if (code === "ERR_MODULE_NOT_FOUND")
    return new SpillwayError("CONFIG", `the project imports something that is not there: ${firstLine(error.message)}`, {
      where: /imported from (.+)$/.exec(firstLine(error.message))?.[1] ?? where,
      cause: thrown,
      hint: error.message.includes("'spillway'")
        ? "install it in the project: npm install spillway"
        : "check the path (with its ending, such as .ts) or install the package",
    })
  if (
    thrown instanceof SyntaxError ||
    code === "ERR_INVALID_TYPESCRIPT_SYNTAX" ||
    code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX"
  )
    return new SpillwayError("CONFIG", `the project cannot be read: ${firstLine(error.message)}`, {
      where,
      cause: thrown,
      hint: "mend the syntax; TypeScript is run by Node as it is, so enums, namespaces and parameter properties are not available",
    })
  return new SpillwayError("CONFIG", `the project failed while it was loaded: ${firstLine(error.message)}`, {
    where,
    cause: thrown,
    hint: "mend the code at this place; --verbose shows the whole trace",
  })
}

const firstLine = (text: string): string => text.split("\n", 1)[0] ?? text

/** The first place of the stack that lies in the project's own code: `file:line`. */
function placeOf(thrown: unknown, place: ProjectPlace): string | undefined {
  if (!(thrown instanceof Error) || thrown.stack === undefined) return undefined
  const base = pathToFileURL(`${place.directory}/`).href
  for (const line of thrown.stack.split("\n")) {
    const match = /(file:\/\/[^\s)]+?):(\d+)(?::\d+)?\)?$/.exec(line.trim())
    if (match?.[1]?.startsWith(base) && !match[1].includes("/node_modules/"))
      return `${fileURLToPath(match[1])}:${match[2]}`
  }
  return undefined
}

function asProject(exported: Record<string, unknown>, file: string): Project {
  const project = exported["default"]
  if (project === undefined)
    throw new SpillwayError("CONFIG", "the project file has no default export", {
      where: file,
      hint: "end it with: export default project({ pipelines: [ … ] })",
    })
  if (typeof project !== "object" || project === null || (project as Partial<Project>).kind !== "spillway-project")
    throw new SpillwayError("CONFIG", "the default export of the project file is not a project", {
      where: file,
      hint: "export default project({ pipelines: [ … ] }), with project imported from spillway",
    })
  return project as Project
}

async function statOf(files: Files, path: string): Promise<Awaited<ReturnType<Files["stat"]>> | undefined> {
  try {
    return await files.stat(path)
  } catch (error) {
    const code = systemCode(error)
    if (code === "ENOENT" || code === "ENOTDIR") return undefined
    throw new SpillwayError("CONFIG", `the project cannot be read (${code ?? String(error)})`, {
      where: path,
      cause: error,
      hint: "check the permissions of the folder",
    })
  }
}
