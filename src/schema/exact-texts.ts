/** Gives whether a text is right. */
type TextTest = (text: string) => boolean

const tests = new WeakMap<object, TextTest>()

/** Notes how the texts of a `decimal()` or `timestamp()` schema are judged, for those who can ask without its library. */
export function noteTextTest<T extends object>(schema: T, test: TextTest): T {
  tests.set(schema, test)
  return schema
}

/** The test of a schema that `decimal()` or `timestamp()` made, as long as nothing was added to it; undefined for all others. */
export function acceptsText(schema: unknown): ((value: unknown) => boolean) | undefined {
  const test = typeof schema === "object" && schema !== null ? tests.get(schema) : undefined
  return test && ((value) => typeof value === "string" && test(value))
}
