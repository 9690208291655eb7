import type { Migration } from "../../postgres/migrate.ts"
import { ops } from "./0001-ops.ts"
import { schedules } from "./0002-schedules.ts"
import { secretFields } from "./0003-secret-fields.ts"
import { groupEvidence } from "./0004-group-evidence.ts"
import { retryBudgets } from "./0005-retry-budgets.ts"

/** All migrations of Spillway's own schemas, in order. */
export const migrations: readonly Migration[] = [ops, schedules, secretFields, groupEvidence, retryBudgets]
