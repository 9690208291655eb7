import { join } from "node:path"

/** Where sources keep what they saw of a record that was set aside, from the project folder. */
export const EVIDENCE_FOLDER = join(".spillway", "evidence")
