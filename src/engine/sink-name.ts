/** What a sink is called: `schema.name` of a table, the folder of files. */
export const sinkName = (
  sink:
    | { readonly kind: "table"; readonly schema: string; readonly name: string }
    | { readonly kind: "file"; readonly folder: string },
): string => (sink.kind === "table" ? `${sink.schema}.${sink.name}` : sink.folder)
