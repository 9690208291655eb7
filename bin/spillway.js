#!/usr/bin/env -S node --max-semi-space-size=8
// Old syntax on purpose: an old Node must be able to read this far and say what is wrong.
import { existsSync, mkdirSync } from "fs"
import module from "module"
import { homedir } from "os"
import { join } from "path"

var needed = [22, 22]
var found = process.versions.node.split(".").map(Number)
if (found[0] < needed[0] || (found[0] === needed[0] && found[1] < needed[1])) {
  process.stderr.write(
    "error[CONFIG]: Spillway needs Node " +
      needed.join(".") +
      " or newer; this is Node " +
      process.versions.node +
      "\n",
  )
  process.exit(2)
}
// A third of a small command is spent on compiling: what V8 made of the code last time is kept. Not where Node would put it: other
// users could leave code of theirs in a folder that all share. Folders are made here, one by one: where a file system has no room for
// any, Node would try for ever.
try {
  var caches = process.env.XDG_CACHE_HOME || join(homedir(), ".cache")
  makeFolder(caches)
  makeFolder(join(caches, "spillway"))
  module.enableCompileCache(join(caches, "spillway"))
} catch (error) {
  // Without a home folder, or one to write into, it goes without.
}
import("../dist/cli/main.js").catch(function (error) {
  process.stderr.write("error[CONFIG]: Spillway could not be loaded: " + error.message + "\n")
  if (error.code === "ERR_MODULE_NOT_FOUND" && /dist/.test(error.message)) {
    process.stderr.write("hint: in a checkout, build it with: npm run build\n")
  }
  process.exit(2)
})

function makeFolder(path) {
  if (!existsSync(path)) mkdirSync(path, 0o700)
}
