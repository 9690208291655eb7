import type { RecordCheck, SetCheck } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { RecordObject } from "../core/records.ts"
import { checkFault, severityOf, type SetOptions } from "./declaration.ts"
import { rows } from "./observed.ts"

/** A query over the relation `staged` that returns the rows that break the check; none means passed. Throws `CONFIG`. */
export function sql(name: string, query: string, options: SetOptions = {}): SetCheck {
  checkName("sql", name)
  const severity = severityOf(name, options)
  const statement = query.trim().replace(/[;\s]+$/, "")
  if (statement === "")
    throw new SpillwayError("CONFIG", `sql(${name}): the query is empty`, {
      hint: "select the rows that break the check: SELECT * FROM staged WHERE …",
    })
  return {
    level: "set",
    name,
    severity,
    description: { level: "set", severity, check: "sql", name, query: statement },
    failingRows: () => statement,
    judge: ({ failing }) => {
      if (failing === undefined) return { passed: false, observed: null, message: `${name}: the query was not run` }
      const found = failing.count
      return {
        passed: found === 0,
        observed: found,
        message: `${name}: expected no failing rows, found ${rows(found)}`,
      }
    },
  }
}

/**
 * A record-level check of your own: `true` passes, a text says what is wrong and sends the record to the dead letters, as does `false` or an
 * exception. Throws `CONFIG`.
 */
export function recordCheck(name: string, check: (record: RecordObject) => boolean | string): RecordCheck {
  checkName("recordCheck", name)
  if (typeof check !== "function")
    throw new SpillwayError("CONFIG", `recordCheck(${name}): the second argument is not a function`, {
      hint: "give (record) => true or a text",
    })
  return {
    level: "record",
    name,
    description: { level: "record", check: "recordCheck", name, code: check.toString() },
    judge: (record) => {
      try {
        const verdict: unknown = check(record)
        if (verdict === true) return undefined
        return checkFault(
          name,
          `${name}: ${typeof verdict === "string" && verdict !== "" ? verdict : "the check failed"}`,
        )
      } catch (error) {
        return checkFault(name, `${name}: the check threw: ${error instanceof Error ? error.message : String(error)}`)
      }
    },
  }
}

function checkName(builder: string, name: string): void {
  if (typeof name === "string" && name.trim() !== "") return
  throw new SpillwayError("CONFIG", `${builder}(): the check has no name`, {
    hint: "name it: the name is kept with every result",
  })
}
