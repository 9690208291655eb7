type Node = Readonly<Record<string, unknown>>

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * The paths of the fields that a JSON Schema marks as secret, by `"secret": true` or `"writeOnly": true`: keys joined by dots, places in
 * lists as `[]`. Of one that is secret as a whole, what lies in it is not listed.
 */
export function secretPaths(root: Node | undefined): ReadonlySet<string> {
  const found = new Set<string>()
  if (root !== undefined) new SecretReader(root, found).visit(root, "", [])
  return found
}

const ALTERNATIVES = ["allOf", "anyOf", "oneOf"]
const ITEMS = ["items", "prefixItems", "contains", "additionalItems"]

class SecretReader {
  readonly #root: Node
  readonly #found: Set<string>

  constructor(root: Node, found: Set<string>) {
    this.#root = root
    this.#found = found
  }

  /** `above`: the nodes on the way here, which a schema that refers to itself would come back to. */
  visit(node: unknown, path: string, above: readonly Node[]): void {
    if (Array.isArray(node)) for (const one of node as unknown[]) this.visit(one, path, above)
    if (!isNode(node) || above.includes(node)) return
    if (path !== "" && (node["secret"] === true || node["writeOnly"] === true)) {
      this.#found.add(path)
      return
    }
    const within = [...above, node]
    if (typeof node["$ref"] === "string") this.visit(this.#target(node["$ref"]), path, within)
    for (const keyword of ALTERNATIVES) this.visit(node[keyword], path, within)
    for (const keyword of ITEMS) this.visit(node[keyword], `${path}[]`, within)
    const properties = node["properties"]
    if (isNode(properties))
      for (const [key, inner] of Object.entries(properties))
        this.visit(inner, path === "" ? key : `${path}.${key}`, within)
  }

  #target(reference: string): unknown {
    if (!reference.startsWith("#")) return undefined
    let found: unknown = this.#root
    for (const part of reference.slice(1).split("/").slice(1)) {
      if (!isNode(found) && !Array.isArray(found)) return undefined
      found = (found as Node)[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")]
    }
    return found
  }
}
