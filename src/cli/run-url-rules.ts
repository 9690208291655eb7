import { resolve } from "node:path"
import { errorCodes, isErrorCode } from "../core/error-catalog.ts"
import { SpillwayError, systemCode, type ErrorCode } from "../core/errors.ts"
import { suppressions, type SuppressionRule } from "../resilience/suppression.ts"
import { recogniseError, usageError } from "./errors.ts"
import type { Host } from "./host.ts"
import { loadProject, locateProject } from "./project.ts"

/** The rules of the project, where there is one, and those of `--suppress`. Throws `CONFIG`. */
export async function rulesOf(host: Host, url: URL, given: readonly string[]): Promise<readonly SuppressionRule[]> {
  const rules = await Promise.all(given.map((text) => rulesIn(text, url, host)))
  const all = [...rules.flat(), ...(await projectRules(host))]
  suppressions(all)
  return all
}

/** A project that was named must be right; one that happens to lie here need not. */
async function projectRules(host: Host): Promise<readonly SuppressionRule[]> {
  const { directory, env, ports } = host
  if (host.projectOption === undefined && !(await hasProject(host))) return []
  try {
    const { project } = await loadProject(host.projectOption, { directory, env, files: ports.files })
    return project.suppress
  } catch (thrown) {
    if (host.projectOption !== undefined) throw thrown
    host.output.warn(
      `the project cannot be loaded, so its suppression rules do not apply (${recogniseError(thrown).message})`,
    )
    return []
  }
}

async function hasProject({ directory, ports }: Host): Promise<boolean> {
  try {
    await locateProject(undefined, directory, ports.files)
    return true
  } catch {
    return false
  }
}

const SHORT_FORM = /^([\w,]+) until (\S+): (.+)$/s

/** `404,410 until 2027-03-31: moved until spring` for the address at hand, or a JSON file of rules. */
async function rulesIn(text: string, url: URL, host: Host): Promise<readonly SuppressionRule[]> {
  const [, failures = "", expires = "", reason = ""] = SHORT_FORM.exec(text) ?? []
  if (failures === "") return rulesInFile(resolve(host.directory, text), host)
  const words = failures.split(",")
  const status = words.filter((word) => /^\d{3}$/.test(word)).map(Number)
  const code = words.map((word) => word.toUpperCase()).filter((word): word is ErrorCode => isErrorCode(word))
  if (status.length + code.length < words.length)
    throw usageError(
      `--suppress ${failures} are not all statuses or codes`,
      `statuses have three digits; codes are such as ${errorCodes.filter((known) => known.startsWith("HTTP")).join(", ")} (spillway explain lists them)`,
    )
  const bare = new URL(url)
  bare.username = ""
  bare.password = ""
  bare.hash = ""
  return [{ pattern: bare.href, status, code, reason, expires }]
}

async function rulesInFile(path: string, { ports }: Host): Promise<readonly SuppressionRule[]> {
  const hint =
    'write --suppress "404 until 2027-03-31: why", or name a JSON file with a list of { pattern, status or code, reason, expires }'
  let read: unknown
  try {
    read = JSON.parse(await ports.files.readText(path))
  } catch (error) {
    const why = error instanceof SyntaxError ? "is not JSON" : `cannot be read (${systemCode(error) ?? String(error)})`
    throw new SpillwayError("CONFIG", `the rules of --suppress: the file ${why}`, { where: path, cause: error, hint })
  }
  const rules: unknown[] = Array.isArray(read) ? read : [read]
  const faults = rules.flatMap((rule, index) => faultsOf(rule).map((fault) => `rule ${index + 1}: ${fault}`))
  if (faults.length > 0)
    throw new SpillwayError("CONFIG", `the rules of --suppress have faults: ${faults.join("; ")}`, {
      where: path,
      hint,
    })
  return rules as SuppressionRule[]
}

/** What the types of a rule promise; what its values mean is judged where all rules are. */
function faultsOf(rule: unknown): string[] {
  if (typeof rule !== "object" || rule === null) return ["is not an object"]
  const { pattern, status, code, reason, expires } = rule as Record<string, unknown>
  const faults: string[] = []
  for (const [name, value] of Object.entries({ pattern, reason, expires }))
    if (typeof value !== "string") faults.push(`${name} is not a text`)
  if (status !== undefined && ![status].flat().every((one) => typeof one === "number"))
    faults.push("status is not a number")
  if (code !== undefined && ![code].flat().every((one) => typeof one === "string" && isErrorCode(one)))
    faults.push("code is not one that spillway explain lists")
  return faults
}
