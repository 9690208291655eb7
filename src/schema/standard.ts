/** The Standard Schema interface, version 1 (standardschema.dev): any schema library that implements it can be used. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": StandardProps<Input, Output>
}

export interface StandardProps<Input = unknown, Output = Input> {
  readonly version: 1
  /** The library: `zod`, `valibot`, `arktype` … */
  readonly vendor: string
  readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>
  readonly types?: { readonly input: Input; readonly output: Output } | undefined
  /** The Standard JSON Schema extension. */
  readonly jsonSchema?: StandardJsonSchema | undefined
}

export type StandardResult<Output> =
  { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly StandardIssue[] }

export interface StandardIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | StandardPathSegment)[] | undefined
}

export interface StandardPathSegment {
  readonly key: PropertyKey
}

/** Converts the two sides of a schema to JSON Schema; throws where it cannot. */
export interface StandardJsonSchema {
  readonly input: (options: StandardJsonSchemaOptions) => Record<string, unknown>
  readonly output: (options: StandardJsonSchemaOptions) => Record<string, unknown>
}

export interface StandardJsonSchemaOptions {
  /** `draft-2020-12`, `draft-07` … */
  readonly target: string
  readonly libraryOptions?: Record<string, unknown> | undefined
}

export function isStandardSchema(value: unknown): value is StandardSchema {
  if ((typeof value !== "object" && typeof value !== "function") || value === null || !("~standard" in value))
    return false
  const props: unknown = value["~standard"]
  return (
    typeof props === "object" &&
    props !== null &&
    "version" in props &&
    props.version === 1 &&
    "vendor" in props &&
    typeof props.vendor === "string" &&
    "validate" in props &&
    typeof props.validate === "function"
  )
}
