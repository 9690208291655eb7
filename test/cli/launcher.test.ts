import { execFile } from "node:child_process"
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"

const LAUNCHER = fileURLToPath(new URL("../../bin/spillway.js", import.meta.url))

const launchedOn = (version: string): Promise<{ code: number; stdout: string; stderr: string }> => {
  const pretend = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${version}" } })`
  const args = ["--import", `data:text/javascript,${encodeURIComponent(pretend)}`, LAUNCHER, "--version"]
  return new Promise((resolve) =>
    execFile(process.execPath, args, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    ),
  )
}

it.each(["18.20.4", "20.19.0", "22.9.0", "22.21.9"])(
  "says in one line that Node %s is too old, and exits 2",
  async (version) => {
    const { code, stdout, stderr } = await launchedOn(version)
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
    expect(stderr).toBe(`error[CONFIG]: Spillway needs Node 22.22 or newer; this is Node ${version}\n`)
  },
)

it.each(["22.22.0", "23.0.0", "26.10.0"])("goes on with Node %s", async (version) => {
  expect((await launchedOn(version)).stderr).not.toContain("needs Node")
})

const launched = (env: NodeJS.ProcessEnv): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((resolve) =>
    execFile(process.execPath, [LAUNCHER, "--version"], { env: { ...process.env, ...env } }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    ),
  )

it("keeps what was compiled in the user's own cache folder", async () => {
  const home = await mkdtemp(join(tmpdir(), "spillway-home-"))
  try {
    expect(await launched({ HOME: home, XDG_CACHE_HOME: "" })).toMatchObject({ code: 0, stderr: "" })
    expect(await readdir(join(home, ".cache/spillway"))).toHaveLength(1)
    expect(await launched({ HOME: home, XDG_CACHE_HOME: join(home, "other") })).toMatchObject({ code: 0, stderr: "" })
    expect(await readdir(join(home, "other/spillway"))).toHaveLength(1)
  } finally {
    await rm(home, { recursive: true, force: true })
  }
})

it.each(["/dev/null/none", "/proc"])("goes without a cache where there can be none: %s", async (nowhere) => {
  expect(await launched({ HOME: nowhere, XDG_CACHE_HOME: nowhere })).toMatchObject({ code: 0, stderr: "" })
})

it("is written in syntax that an old Node can read", async () => {
  const code = (await readFile(LAUNCHER, "utf8")).replace(/\/\/.*|"[^"]*"/g, "")
  expect(code).not.toMatch(/=>|`|\b(?:const|let|async|await|class)\b|\?\.|\?\?/)
})
