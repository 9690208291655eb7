import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { makeRetailData } from "./make-data.ts"

/**
 * The folder with one gzipped CSV per day: `RETAIL_DATA`, or the UCI "Online Retail" files where they lie beside the
 * project, or data of the same shape made here on first use.
 */
export async function retailData(): Promise<string> {
  const given = process.env["RETAIL_DATA"]
  if (given !== undefined) return given
  const beside = fileURLToPath(new URL("../../../shared/data/online-retail", import.meta.url))
  if (existsSync(beside)) return beside
  const made = fileURLToPath(new URL("./.spillway/data", import.meta.url))
  if (!existsSync(made)) await makeRetailData(made)
  return made
}
