import { describe, expect, it } from "vitest"
import { errorCodes } from "../../src/core/error-catalog.ts"
import { envelope, spillway as spawned, spillwayHere as spillway } from "./command-line.ts"

describe("the command line", () => {
  it("shows help with examples, on stdout, for the program and for every command", async () => {
    const help = await spillway(["--help"])
    expect(help).toMatchObject({ code: 0, stderr: "" })
    const commands = [
      "run",
      "backfill",
      "work",
      "status",
      "logs",
      "validate",
      "run-url",
      "triage",
      "dlq",
      "explain",
      "check",
      "preview",
      "init",
      "prune",
      "reset",
      "db",
    ]
    for (const command of commands) expect(help.stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"))
    const answers = await Promise.all(commands.map((command) => spillway([command, "--help"])))
    for (const answer of answers) {
      expect(answer.code).toBe(0)
      expect(answer.stdout).toContain("Examples:")
      expect(answer.stdout).toContain("--project")
    }
  })

  it.each([
    [["rnu"], "unknown command 'rnu'", "did you mean run? See spillway --help"],
    [["run", "--ful"], "unknown option '--ful'", "did you mean --full? See spillway run --help"],
    [["preview"], "missing required argument 'pipeline'", "see spillway preview --help"],
    [["logs", "--since", "yesterday"], '--since "yesterday" is neither a span nor a time', "write 30s"],
    [["logs", "--level", "WARN"], "--level WARN is not a level", "WARNING"],
    [["status", "--watch"], "--watch needs a terminal", "leave out --watch"],
  ])("%j exits 2 and says what to do", async (args, message, hint) => {
    const answer = await spillway(args)
    expect(answer.code).toBe(2)
    expect(answer.stdout).toBe("")
    expect(answer.stderr).toContain(`error[CONFIG]: ${message}`)
    expect(answer.stderr).toMatch(/^hint: /m)
    expect(answer.stderr).toContain(hint)
  })

  it("answers with an envelope on stdout under --json, also for what it cannot parse", async () => {
    for (const args of [["rnu", "--json"], ["--json", "run", "--ful"], ["--json"]]) {
      const answer = await spillway(args)
      expect(answer).toMatchObject({ code: 2, stderr: "" })
      expect(envelope(answer)).toMatchObject({
        schema: 1,
        ok: false,
        data: null,
        warnings: [],
        error: { code: "CONFIG" },
      })
    }
  })

  it("is a program that prints and exits", async () => {
    expect(await spawned(["--version"])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as unknown,
      stderr: "",
    })
    expect((await spawned(["explain", "nonsense"])).code).toBe(4)
  })

  it("exits 2 with help on stderr when no command is given", async () => {
    const answer = await spillway([])
    expect(answer).toMatchObject({ code: 2, stdout: "" })
    expect(answer.stderr).toContain("Usage: spillway")
  })

  it("colours only where asked for in a pipe", async () => {
    expect((await spillway(["explain"])).stdout).not.toContain("\u001b[")
    expect((await spillway(["explain"], { FORCE_COLOR: "1" })).stdout).toContain("\u001b[")
    expect((await spillway(["explain"], { FORCE_COLOR: "1", NO_COLOR: "1" })).stdout).not.toContain("\u001b[")
  })
})

describe("explain", () => {
  it("says what a code means, in any spelling", async () => {
    for (const code of ["LEASE_HELD", "lease_held", "lease-held"]) {
      const answer = await spillway(["explain", code])
      expect(answer.code).toBe(0)
      expect(answer.stdout).toMatch(/^LEASE_HELD: /)
      expect(answer.stdout).toContain("What you can do")
    }
    const data = envelope(await spillway(["explain", "decode", "--json"])).data
    expect(data).toMatchObject({
      code: "DECODE",
      title: expect.any(String) as unknown,
      action: expect.any(String) as unknown,
    })
  })

  it("lists all codes", async () => {
    const { stdout } = await spillway(["explain"])
    expect(stdout.trimEnd().split("\n")).toHaveLength(errorCodes.length)
  })

  it("does not know every word, and says what is near: exit 4", async () => {
    const answer = await spillway(["explain", "lese_held"])
    expect(answer).toMatchObject({ code: 4, stdout: "" })
    expect(answer.stderr).toContain('did you mean "LEASE_HELD"?')
  })
})
