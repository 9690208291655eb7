import { SpillwayError } from "./errors.ts"
import { registerSecret } from "./secrets.ts"

/** A secret or an address that stands in the environment, by its name: `env("API_TOKEN")`. Its value is in no definition and is shown nowhere. */
export interface FromEnvironment {
  readonly kind: "env"
  readonly name: string
}

/** Text as it stands, or the name of the environment variable that holds it. */
export type Setting = string | FromEnvironment

/**
 * The value of an environment variable (also one that stands in the project's `.env`), looked up when a run begins; from then on it is
 * shown as `***`. Throws `CONFIG` for what cannot be a variable's name.
 */
export function env(name: string): FromEnvironment {
  if (!/^[A-Za-z_]\w*$/.test(name))
    throw new SpillwayError("CONFIG", `env(${JSON.stringify(name)}) does not name an environment variable`, {
      hint: 'give the name, not the value: env("API_TOKEN")',
    })
  return { kind: "env", name }
}

/** A setting as definitions and messages may show it. */
export const shownSetting = (setting: Setting): string =>
  typeof setting === "string" ? setting : `env(${setting.name})`

/** The names of the variables among these settings that are not set, or empty. */
export const missingSettings = (settings: readonly Setting[]): string[] => [
  ...new Set(
    settings.flatMap((setting) => (typeof setting !== "string" && !process.env[setting.name] ? [setting.name] : [])),
  ),
]

/** The value of a setting. Throws `CONFIG` when its variable is not set. */
export function settingValue(setting: Setting): string {
  if (typeof setting === "string") return setting
  const value = process.env[setting.name]
  if (value === undefined || value === "") throw notSet([setting.name])
  return value
}

/** The value of a setting that must never surface: from now on it is shown as `***`. Throws `CONFIG` when its variable is not set. */
export function secretValue(setting: Setting): string {
  const value = settingValue(setting)
  registerSecret(value)
  return value
}

/** The error that names variables which are not set. */
export const notSet = (names: readonly string[]): SpillwayError =>
  new SpillwayError(
    "CONFIG",
    names.length === 1
      ? `the environment variable ${names[0]} is not set`
      : `these environment variables are not set: ${names.join(", ")}`,
    {
      where: names.join(", "),
      hint: `set ${names.length === 1 ? "it" : "them"} in the environment or in the project's .env`,
    },
  )
