// node --import …/from-source.ts: examples import the package by its name, which would be what was last built.
import { registerHooks } from "node:module"

const SOURCE = new URL("../../src/", import.meta.url)

registerHooks({
  resolve(specifier, context, next) {
    const [name, part] = /^spillway(?:\/(\w+))?$/.exec(specifier) ?? []
    if (name !== undefined)
      return { url: new URL(part === undefined ? "index.ts" : `${part}/index.ts`, SOURCE).href, shortCircuit: true }
    // Copies of examples lie where there are no packages.
    return next(specifier, specifier === "zod" ? { ...context, parentURL: SOURCE.href } : context)
  },
})
