import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { parseEnv } from "node:util"
import { SpillwayError, systemCode } from "../core/errors.ts"

export type DatabaseSettings =
  /** `from` says where it was found, for people: `DATABASE_URL in .env`. */
  { readonly kind: "url"; readonly url: string; readonly from: string } | { readonly kind: "embedded" }

type Variables = Readonly<Record<string, string | undefined>>

const DEFAULTS = { host: "localhost", port: "5432", name: "postgres", user: "postgres" }
const MALFORMED_HINT =
  "write postgres://user:password@host:port/database; characters such as @ : / ? # % in the user or password are percent-encoded (@ is %40)"

/**
 * Which database the project in `directory` uses: `DATABASE_URL`; otherwise `DB_HOST`, `DB_PORT`, `DB_NAME`, `DB_USER`,
 * `DB_PASSWORD` when `DB_HOST` or `DB_NAME` is given (defaults: localhost, 5432, postgres, postgres, no password); otherwise
 * the embedded one. What the environment says goes before what the folder's `.env` says; an empty variable is none.
 * Throws `CONFIG` when what is given is malformed.
 */
export async function databaseSettings(directory: string, env: Variables = process.env): Promise<DatabaseSettings> {
  const file = await readDotEnv(directory)
  const merged = { ...file, ...withoutEmpty(env) }
  return fromVariables(env, merged, "the environment") ?? fromVariables(file, merged, ".env") ?? { kind: "embedded" }
}

/** `url` with its password as `***`, for messages; also when it is malformed. */
export function redactUrl(url: string): string {
  // In a malformed URL the password may reach to the last "@", whatever the parser makes of it.
  const crude = url.replace(/^(\w*:\/\/|(?!\w*:\/\/))([^:@]*):.*@/s, "$1$2:***@")
  if (!URL.canParse(url)) return crude
  const parsed = new URL(url)
  if (parsed.password === "" && crude !== url) return crude
  if (parsed.password !== "") parsed.password = "***"
  for (const name of ["password", "sslpassword"])
    if (parsed.searchParams.has(name)) parsed.searchParams.set(name, "***")
  return parsed.href
}

function fromVariables(source: Variables, merged: Variables, where: string): DatabaseSettings | undefined {
  if (source["DATABASE_URL"])
    return { kind: "url", url: checkedUrl(source["DATABASE_URL"], where), from: `DATABASE_URL in ${where}` }
  const given = ["DB_HOST", "DB_NAME"].filter((name) => source[name])
  if (given.length === 0) return undefined
  return { kind: "url", url: composedUrl(merged, where), from: `${given.join(", ")} in ${where}` }
}

function checkedUrl(url: string, where: string): string {
  const fault = urlFault(url)
  if (fault === undefined) return url
  throw new SpillwayError("CONFIG", `DATABASE_URL ${fault}: ${redactUrl(url)}`, { where, hint: MALFORMED_HINT })
}

function urlFault(url: string): string | undefined {
  if (!/^postgres(ql)?:\/\//i.test(url)) return "does not begin with postgres:// or postgresql://"
  if (!URL.canParse(url)) return "is not a valid URL"
  const parsed = new URL(url)
  // An unencoded "#" or "@" in a password ends up here, and the driver would connect to somewhere else.
  if (parsed.hash !== "" || parsed.pathname.includes("@")) return "is not a valid URL"
  if (parsed.hostname === "" && !parsed.searchParams.has("host")) return "names no host"
  try {
    for (const part of [parsed.username, parsed.password, parsed.hostname, parsed.pathname]) decodeURIComponent(part)
  } catch {
    return "has a % that is not an escape"
  }
  return undefined
}

function composedUrl(variables: Variables, where: string): string {
  const host = variables["DB_HOST"] || DEFAULTS.host
  const port = variables["DB_PORT"] || DEFAULTS.port
  const name = variables["DB_NAME"] || DEFAULTS.name
  const user = variables["DB_USER"] || DEFAULTS.user
  const password = variables["DB_PASSWORD"]
  if (!/^\d+$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
    throw new SpillwayError("CONFIG", `DB_PORT is ${JSON.stringify(port)}, not a number from 1 to 65535`, {
      where,
      hint: "give the port of the PostgreSQL server, usually 5432",
    })
  if (/[?#]/.test(name))
    throw new SpillwayError("CONFIG", `DB_NAME ${JSON.stringify(name)} contains "?" or "#"`, {
      where,
      hint: "use a database with another name",
    })
  const account = encodeURIComponent(user) + (password ? `:${encodeURIComponent(password)}` : "")
  const url = `postgres://${account}@${urlHost(host)}:${port}/${encodeURI(name)}`
  if (urlFault(url) !== undefined)
    throw new SpillwayError("CONFIG", `DB_HOST ${JSON.stringify(host)} is not a host name`, {
      where,
      hint: "give the host name only, without protocol, port or path",
    })
  return url
}

function urlHost(host: string): string {
  // The folder of a Unix socket.
  if (host.startsWith("/")) return encodeURIComponent(host)
  if (host.includes(":") && !host.startsWith("[")) return `[${host}]`
  return host
}

async function readDotEnv(directory: string): Promise<Variables> {
  const path = join(directory, ".env")
  try {
    return withoutEmpty(parseEnv(await readFile(path, "utf8")))
  } catch (error) {
    // Some keep a virtual environment in a folder of that name.
    if (["ENOENT", "ENOTDIR", "EISDIR"].includes(systemCode(error) ?? "")) return {}
    throw new SpillwayError("CONFIG", "the project's .env cannot be read", {
      where: path,
      cause: error,
      hint: "make it readable, or remove it",
    })
  }
}

const withoutEmpty = (variables: Variables): Variables =>
  Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined && value !== ""))
