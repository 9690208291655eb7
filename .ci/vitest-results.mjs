// Prints "passed failed skipped" of a JSON report of vitest, and appends what failed to a file.
import { appendFileSync, readFileSync } from "node:fs"

const [report, failures] = process.argv.slice(2)
const { testResults, numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
  readFileSync(report, "utf8"),
)
const text = (message) => (message ?? "").split("\n").slice(0, 12).join("\n    ")
let lost = 0
for (const file of testResults) {
  const failed = file.assertionResults.filter((test) => test.status === "failed")
  // A file that could not be loaded, or whose hook failed, has no failed test of its own.
  if (file.status === "failed" && failed.length === 0) lost++
  if (file.message) appendFileSync(failures, `FAILED  ${file.name}\n    ${text(file.message)}\n`)
  for (const test of failed)
    appendFileSync(failures, `FAILED  ${file.name}: ${test.fullName}\n    ${text(test.failureMessages[0])}\n`)
}
console.log(numPassedTests, numFailedTests + lost, numPendingTests + numTodoTests)
