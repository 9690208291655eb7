// Builds dist/ from src/. Runs on `npm ci` (as `prepare`) and before the package is packed.
import { spawnSync } from "node:child_process"
import { chmodSync, existsSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"

const here = fileURLToPath(new URL(".", import.meta.url))
rmSync(`${here}dist`, { recursive: true, force: true })
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc")
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: here, stdio: "inherit" })
if (status !== 0) process.exit(status ?? 1)

// Few files: to find and open one after the other is half of the time that a small command takes. What the doors of the
// package share lies in chunks, so that a project and the command line have the same classes.
const { exports: doors } = JSON.parse(readFileSync(`${here}package.json`, "utf8"))
const doorEntries = Object.values(doors).flatMap((door) => /^\.\/dist\/(.+)\.js$/.exec(door.default)?.[1] ?? [])
const bundle = await rolldown({
  cwd: here,
  input: Object.fromEntries(
    ["cli/main", "validate/letter-thread-entry", ...doorEntries].map((name) => [name, `src/${name}.ts`]),
  ),
  platform: "node",
  external: (id) => !/^[./]|^src\//.test(id),
})
await bundle.write({ dir: "dist", format: "esm", chunkFileNames: "chunks/[name]-[hash].js" })
await bundle.close()

// npm links the commands of dependencies, not of the checkout itself: without this `npx spillway` would install the
// project once more into npm's cache and run that copy.
const links = `${here}node_modules/.bin`
if (existsSync(links) && process.platform !== "win32") {
  chmodSync(`${here}bin/spillway.js`, 0o755)
  rmSync(`${links}/spillway`, { force: true })
  symlinkSync("../../bin/spillway.js", `${links}/spillway`)
}
