#!/usr/bin/env -S node --max-semi-space-size=8
// Old syntax on purpose: an old Node must be able to read this far and say what is wrong.
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
// users could leave code of theirs in a folder that all share.
try {
  module.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "spillway"))
} catch (error) {
  // An account without a home folder does without.
}
import("../dist/cli/main.js").catch(function (error) {
  process.stderr.write("error[CONFIG]: Spillway could not be loaded: " + error.message + "\n")
  if (error.code === "ERR_MODULE_NOT_FOUND" && /dist/.test(error.message)) {
    process.stderr.write("hint: in a checkout, build it with: npm run build\n")
  }
  process.exit(2)
})
