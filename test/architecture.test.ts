import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { describe, expect, it } from "vitest"

const SRC = fileURLToPath(new URL("../src", import.meta.url))

/** What each folder of `src` may import, besides itself. `.` stands for the files directly in `src`. The table of docs/architecture.md. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  schema: ["core"],
  formats: ["core"],
  quality: ["core"],
  resilience: ["core"],
  download: ["core", "resilience"],
  postgres: ["core"],
  models: ["core", "postgres"],
  sources: ["core", "formats", "postgres", "resilience"],
  ledger: ["core", "postgres"],
  "dead-letters": ["core", "ledger", "postgres"],
  observability: ["core", "ledger", "postgres"],
  engine: ["core", "models", "schema", "resilience", "quality", "postgres", "ledger", "dead-letters", "observability"],
  scheduler: ["core", "models", "postgres", "ledger", "observability", "engine"],
  validate: ["core", "schema", "formats", "sources", "dead-letters", "ledger", "engine"],
  testing: ["core", "postgres", "ledger", "engine"],
  cli: [
    "core",
    "models",
    "postgres",
    "ledger",
    "dead-letters",
    "observability",
    "engine",
    "scheduler",
    "validate",
    "resilience",
    "download",
  ],
  ".": [
    "core",
    "schema",
    "formats",
    "quality",
    "resilience",
    "sources",
    "models",
    "postgres",
    "ledger",
    "dead-letters",
    "engine",
    "validate",
    "scheduler",
  ],
}

/** Packages that only one folder may know. `import "spillway"` must stay light, so each is also loaded lazily or not by the index. */
const ONE_DOOR: Record<string, readonly string[]> = {
  pg: ["postgres"],
  "pg-copy-streams": ["postgres"],
  zod: ["schema"],
  ajv: ["schema"],
  "ajv-formats": ["schema"],
  commander: ["cli"],
  picocolors: ["cli", "observability"],
  pino: ["observability", "cli"],
  picomatch: ["sources"],
  undici: ["resilience"],
  "pg-boss": ["scheduler"],
  croner: ["scheduler"],
  hyparquet: ["formats"],
  "hyparquet-compressors": ["formats"],
  "@aws-sdk/client-s3": ["sources"],
  "playwright-core": ["sources"],
}

const files = (readdirSync(SRC, { recursive: true }) as string[])
  .filter((name) => name.endsWith(".ts"))
  .map((name) => join(SRC, name))

/** The modules a file imports or re-exports, by the compiler's own reading; `types` leaves out what disappears at run time. */
function importsOf(file: string, options: { types: boolean }): string[] {
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true)
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
      const typeOnly = ts.isImportDeclaration(node)
        ? node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
        : node.isTypeOnly
      if (node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier) && (options.types || !typeOnly))
        found.push(node.moduleSpecifier.text)
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments
      if (argument && ts.isStringLiteral(argument)) found.push(argument.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

const folderOf = (file: string): string => {
  const path = relative(SRC, file)
  return path.includes("/") ? (path.split("/")[0] ?? "") : "."
}

const localTargets = (file: string): string[] =>
  importsOf(file, { types: true })
    .filter((name) => name.startsWith("."))
    .map((name) => resolve(dirname(file), name))

describe("the structure of src", () => {
  it("is read whole", () => {
    expect(files.length).toBeGreaterThan(100)
    expect(new Set(files.map(folderOf))).toEqual(new Set(Object.keys(MAY_IMPORT)))
    const withImports = files.filter((file) => importsOf(file, { types: true }).length > 0)
    expect(withImports.length).toBeGreaterThan(80)
  })

  it("imports only files that exist, in the allowed direction", () => {
    const known = new Set(files)
    const broken: string[] = []
    for (const file of files)
      for (const target of localTargets(file)) {
        const from = folderOf(file)
        const to = folderOf(target)
        if (!known.has(target)) broken.push(`${relative(SRC, file)}: ${target} is not there`)
        else if (from !== to && !MAY_IMPORT[from]?.includes(to))
          broken.push(`${relative(SRC, file)} imports ${relative(SRC, target)}`)
      }
    expect(broken).toEqual([])
  })

  it("has no import cycle", () => {
    const graph = new Map(files.map((file) => [file, localTargets(file)]))
    const done = new Set<string>()
    const cycles: string[] = []
    const walk = (file: string, path: readonly string[]): void => {
      const at = path.indexOf(file)
      if (at >= 0) {
        cycles.push([...path.slice(at), file].map((name) => relative(SRC, name)).join(" > "))
        return
      }
      if (done.has(file)) return
      for (const next of graph.get(file) ?? []) walk(next, [...path, file])
      done.add(file)
    }
    for (const file of files) walk(file, [])
    expect(cycles).toEqual([])
  })

  it("keeps packages behind one door", () => {
    const broken: string[] = []
    for (const file of files)
      for (const name of importsOf(file, { types: true })) {
        const packageName = name.startsWith("@") ? name.split("/").slice(0, 2).join("/") : (name.split("/")[0] ?? "")
        const doors = ONE_DOOR[packageName]
        if (doors !== undefined && !doors.includes(folderOf(file)))
          broken.push(`${relative(SRC, file)} imports ${name}`)
        else if (doors === undefined && !name.startsWith(".") && !name.startsWith("node:"))
          broken.push(`${relative(SRC, file)} imports ${name}, which no rule names`)
      }
    expect(broken).toEqual([])
  })

  it("keeps files short enough to read in one go", () => {
    const long = files
      .filter((file) => readFileSync(file, "utf8").split("\n").length > 450)
      .map((file) => relative(SRC, file))
    expect(long).toEqual([])
  })
})
