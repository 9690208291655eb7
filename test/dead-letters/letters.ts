import { migrations } from "../../src/ledger/migrations/index.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Session } from "../../src/postgres/session.ts"
import { freshDatabase } from "../postgres/server.ts"

export interface LedgerBed {
  readonly url: string
  readonly session: Session
  end(): Promise<void>
}

/** A database of its own with the `ops` schema. */
export async function ledgerBed(): Promise<LedgerBed> {
  const fresh = await freshDatabase()
  const session = await database(fresh.url).connect()
  await migrate(session, migrations)
  return {
    url: fresh.url,
    session,
    end: async () => {
      await session.end()
      await fresh.drop()
    },
  }
}

export interface GivenLetter {
  readonly id: string
  readonly group?: string
  readonly code?: string
  readonly message?: string
  readonly pipeline?: string
  readonly run?: string
  readonly step?: string
  readonly status?: string
  readonly source?: Record<string, unknown>
  readonly faults?: readonly { path?: string; rule?: string; message?: string; expected?: string }[]
  readonly record?: unknown
  /** Default: the record. */
  readonly raw?: Buffer
  /** Minutes before now. */
  readonly ago?: number
}

/** Puts a letter straight into the table. */
export async function putLetter(session: Session, letter: GivenLetter): Promise<void> {
  const { faults = [], record = null } = letter
  await session.query(
    `INSERT INTO ops.dead_letters (id, fingerprint, error_code, error_msg, pipeline_name, run_id, step, status, source, faults, path, rule, record, raw,
       partition_key, ordinal, schema_version, first_seen, last_seen)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'p', 1, '1', now() - $15 * interval '1 minute', now() - $15 * interval '1 minute')`,
    [
      ...[
        letter.id,
        letter.group ?? "v1:aaaa",
        letter.code ?? "VALIDATION",
        letter.message ?? "m",
        letter.pipeline ?? "orders",
      ],
      ...[
        letter.run ?? "r1",
        letter.step ?? "validate",
        letter.status ?? "pending",
        JSON.stringify(letter.source ?? {}),
      ],
      ...[JSON.stringify(faults), faults[0]?.path ?? null, faults[0]?.rule ?? null, JSON.stringify(record)],
      ...[letter.raw ?? Buffer.from(JSON.stringify(record)), letter.ago ?? 0],
    ],
  )
}
