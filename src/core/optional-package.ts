import { SpillwayError, systemCode } from "./errors.ts"

/**
 * What `load` imports: packages that are installed only where they are wanted. Throws `CONFIG`, with the command that installs them, when
 * one is missing; `purpose` says what for, as in "reading Parquet".
 */
export async function optionalPackage<T>(load: () => Promise<T>, packages: string, purpose: string): Promise<T> {
  try {
    return await load()
  } catch (error) {
    if (systemCode(error) !== "ERR_MODULE_NOT_FOUND") throw error
    throw new SpillwayError("CONFIG", `${purpose} needs a package that is not installed: ${packages}`, {
      hint: `npm install ${packages}`,
      cause: error,
    })
  }
}
