const LINK = /<([^>]*)>((?:\s*;\s*[\w!#$&+\-.^`|~*]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s",;]+))?)*)/g
const PARAMETER = /;\s*([\w!#$&+\-.^`|~*]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+)))?/g

/** The address that a `Link` header gives for a relation; undefined when it gives none. */
export function linkTarget(header: string, rel: string): string | undefined {
  for (const [, target, parameters = ""] of header.matchAll(LINK)) {
    const relations = [...parameters.matchAll(PARAMETER)].find(([, name]) => name?.toLowerCase() === "rel")
    const named = (relations?.[2] ?? relations?.[3] ?? "").toLowerCase().split(/\s+/)
    if (named.includes(rel.toLowerCase())) return target
  }
  return undefined
}
