import { fileURLToPath } from "node:url"
import { SpillwayError, systemCode } from "../../core/errors.ts"
import type { Ports } from "../../core/ports.ts"
import { bounds, WHOLE_KEY, type PartitionUnit } from "../../models/partition-unit.ts"
import { sqlTemplate, type SqlTemplate, type SqlValues } from "../../models/template.ts"
import type { Model } from "./model.ts"

/** A model whose SQL was read and looked at. */
export interface PreparedModel {
  readonly model: Model
  readonly query: SqlTemplate
  readonly sums: SqlTemplate | undefined
}

/** Reads and checks a model's SQL. Throws `CONFIG`. */
export async function prepareModel(model: Model, ports: Pick<Ports, "files">): Promise<PreparedModel> {
  const query =
    typeof model.sql === "string"
      ? sqlTemplate(model.sql, `model ${model.name}`)
      : sqlTemplate(await sqlFile(model.sql, model, ports), fileURLToPath(model.sql))
  const sums = model.sums === undefined ? undefined : sqlTemplate(model.sums, `model ${model.name}, sums`)
  // Values of a made-up partition: a placeholder that has none is told before anything is done.
  for (const template of sums === undefined ? [query] : [query, sums])
    template.bind(valuesOf(model, exampleKey(model.partition), "run"))
  return { model, query, sums }
}

async function sqlFile(url: URL, model: Model, { files }: Pick<Ports, "files">): Promise<string> {
  const path = fileURLToPath(url)
  try {
    return await files.readText(path)
  } catch (error) {
    throw new SpillwayError(
      "CONFIG",
      `the SQL of model "${model.name}" cannot be read (${systemCode(error) ?? String(error)})`,
      {
        where: path,
        cause: error,
        hint: 'give the file beside the project as new URL("./models/name.sql", import.meta.url)',
      },
    )
  }
}

/**
 * Asks the database something that a model declares. What it has against the query itself, or against the data of the partition
 * `key`, is thrown with the file or model that the query is written in.
 */
export async function asDeclared<T>(
  { where }: SqlTemplate,
  key: string | undefined,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask()
  } catch (thrown) {
    const isOfTheQuery =
      thrown instanceof SpillwayError &&
      (thrown.code === "CONFIG" || thrown.code === "DB_CONSTRAINT") &&
      thrown.context["sqlState"] !== undefined
    if (!isOfTheQuery) throw thrown
    throw new SpillwayError(thrown.code, key === undefined ? thrown.message : `${key}: ${thrown.message}`, {
      cause: thrown,
      where,
      hint:
        thrown.code === "CONFIG"
          ? "mend the query; the tables that it reads have to be there"
          : `correct the data that ${where} meets, or that query`,
      context: thrown.context,
    })
  }
}

/** A key that a partition of this unit could have. */
export const exampleKey = (unit: PartitionUnit): string =>
  unit.kind === "month" ? "2000-01" : unit.kind === "day" ? "2000-01-01" : unit.kind === "whole" ? WHOLE_KEY : "a"

/** What stands for the placeholders of a model's SQL. */
export function valuesOf(model: Model, key: string, runId: string): SqlValues {
  const partition = bounds(model.partition, key)
  return {
    "partition.key": partition.key,
    "partition.start": partition.start,
    "partition.end": partition.end,
    "partition.year": partition.year,
    "partition.month": partition.month,
    "run.id": runId,
    ...Object.fromEntries(Object.entries(model.params).map(([name, value]) => [`params.${name}`, value])),
  }
}
