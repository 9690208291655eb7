// A command of its own, for tests: starts (or finds) the embedded server of the folder given and prints it as one line of JSON.
// With a second argument it then stays until it is killed.
import { SpillwayError } from "../../src/core/errors.ts"
import { startEmbedded } from "../../src/postgres/embedded.ts"

const [directory, stay] = process.argv.slice(2)
try {
  console.log(JSON.stringify(await startEmbedded(directory!)))
} catch (error) {
  if (!(error instanceof SpillwayError)) throw error
  console.log(JSON.stringify({ code: error.code, message: error.message, hint: error.hint, where: error.where }))
}
if (stay !== undefined) setInterval(() => undefined, 1000)
