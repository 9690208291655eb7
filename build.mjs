// Builds dist/ from src/. Runs on `npm ci` (as `prepare`) and before the package is packed.
import { rmSync } from "node:fs"
import { spawnSync } from "node:child_process"
import { createRequire } from "node:module"

rmSync(new URL("./dist", import.meta.url), { recursive: true, force: true })
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc")
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], {
  cwd: new URL(".", import.meta.url),
  stdio: "inherit",
})
process.exit(status ?? 1)
