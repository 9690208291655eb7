import type { Browser } from "playwright-core"
import type { SourceContext } from "../../core/contracts.ts"
import type { Files } from "../../core/files.ts"
import { optionalPackage } from "../../core/optional-package.ts"
import { launchError } from "./errors.ts"
import type { BrowserSettings } from "./options.ts"

/** Starts a browser. Throws `CONFIG` when the package is missing, `RESOURCE` when the browser cannot be started. */
export async function launched(
  { launch = { channel: "chrome" }, timeoutMs: timeout }: BrowserSettings,
  { ports }: Pick<SourceContext, "ports">,
): Promise<Browser> {
  const { chromium } = await optionalPackage(
    () => import("playwright-core"),
    "playwright-core",
    "reading rendered pages",
  )
  const { executablePath } = launch
  try {
    // Where there is no program, playwright finds out too late: the folders that it has made by then are left behind.
    if (executablePath !== undefined) await requireProgram(executablePath, ports.files)
    // Whoever listens to a signal stops the run by it. Playwright would end the process before the run has come to its end.
    const [handleSIGINT, handleSIGTERM] = [!isHeard("SIGINT"), !isHeard("SIGTERM")]
    return await chromium.launch({ ...launch, timeout, handleSIGINT, handleSIGTERM })
  } catch (error) {
    throw launchError(error)
  }
}

async function requireProgram(path: string, files: Files): Promise<void> {
  await files.stat(path).catch((cause: unknown) => {
    throw new Error(`there is no program ${path}`, { cause })
  })
}

const isHeard = (signal: "SIGINT" | "SIGTERM"): boolean => process.listenerCount(signal) > 0
