import type { Migration } from "../../postgres/migrate.ts"
import { ops } from "./0001-ops.ts"
import { schedules } from "./0002-schedules.ts"

/** All migrations of Spillway's own schemas, in order. */
export const migrations: readonly Migration[] = [ops, schedules]
