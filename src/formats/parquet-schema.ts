import type { FileMetaData, SchemaElement, SchemaTree } from "hyparquet"
import { SpillwayError } from "../core/errors.ts"
import { isText, leafValue } from "./parquet-values.ts"

/** A column of records: its values, once the library took the file apart, as a record carries them. */
export interface ParquetColumn {
  readonly name: string
  convert(stored: unknown, exact: boolean): unknown
}

/**
 * The columns that stand at the top of a file's schema. Throws `CONFIG` for a kind that cannot be read.
 */
export const columnsOf = (tree: SchemaTree, binaryAsText: boolean): ParquetColumn[] =>
  tree.children.map((node) => ({ name: node.element.name, convert: converter(node, binaryAsText) }))

/**
 * The same metadata with annotations left out, so that the library hands over what is stored: it would make doubles of decimals and
 * drop microseconds and zones.
 */
export const withStoredValues = (metadata: FileMetaData): FileMetaData => ({
  ...metadata,
  schema: metadata.schema.map(plainElement),
})

function plainElement(element: SchemaElement): SchemaElement {
  const { converted_type: converted, logical_type: logical, ...bare } = element
  if (element.num_children !== undefined && element.num_children > 0) {
    if (converted === "LIST" || logical?.type === "LIST") return { ...bare, converted_type: "LIST" }
    if (converted === "MAP" || converted === "MAP_KEY_VALUE" || logical?.type === "MAP")
      return { ...bare, converted_type: "MAP" }
    return bare
  }
  return isText(element) ? { ...bare, converted_type: "UTF8" } : bare
}

type Converter = ParquetColumn["convert"]

function converter(node: SchemaTree, binaryAsText: boolean): Converter {
  const once = nullable(single(node, binaryAsText))
  // Before lists had a form of their own, a repeated field was one.
  if (node.element.repetition_type !== "REPEATED") return once
  return (stored, exact) => (Array.isArray(stored) ? stored.map((item) => once(item, exact)) : once(stored, exact))
}

const nullable =
  (inner: Converter): Converter =>
  (stored, exact) =>
    stored === null || stored === undefined ? null : inner(stored, exact)

function single(node: SchemaTree, binaryAsText: boolean): Converter {
  const { element, children } = node
  if (element.logical_type?.type === "VARIANT")
    throw new SpillwayError(
      "CONFIG",
      `the column ${JSON.stringify(node.path.join("."))} is a VARIANT, which is not read`,
      {
        hint: "write it as JSON text",
      },
    )
  const [first] = children
  if (first === undefined) return leafValue(element, binaryAsText)
  if (isListOf(node, first)) {
    const [only] = first.children
    const item = nullable(
      first.children.length === 1 && only !== undefined ? converter(only, binaryAsText) : single(first, binaryAsText),
    )
    return (stored, exact) => (stored as unknown[]).map((value) => item(value, exact))
  }
  if (isMapOf(node, first)) {
    const value = converter(first.children[1] as SchemaTree, binaryAsText)
    return (stored, exact) => mapped(stored as object, () => value, exact)
  }
  const fields = new Map(children.map((child) => [child.element.name, converter(child, binaryAsText)]))
  return (stored, exact) => mapped(stored as object, (name) => fields.get(name), exact)
}

function mapped(stored: object, converterOf: (name: string) => Converter | undefined, exact: boolean): object {
  return Object.fromEntries(
    Object.entries(stored).map(([name, value]) => [name, converterOf(name)?.(value, exact) ?? null]),
  )
}

const isListOf = ({ element, children }: SchemaTree, first: SchemaTree): boolean =>
  (element.converted_type === "LIST" || element.logical_type?.type === "LIST") &&
  children.length === 1 &&
  first.children.length <= 1 &&
  first.element.repetition_type === "REPEATED"

const isMapOf = ({ element, children }: SchemaTree, first: SchemaTree): boolean =>
  (element.converted_type?.startsWith("MAP") === true || element.logical_type?.type === "MAP") &&
  children.length === 1 &&
  first.children.length === 2 &&
  first.element.repetition_type === "REPEATED"
