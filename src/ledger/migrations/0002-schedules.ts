import type { Migration } from "../../postgres/migrate.ts"

/** What backfills wait for, when schedules fired, and which partitions are overdue. The queue itself is in `ops_queue`. */
export const schedules: Migration = {
  number: 2,
  name: "schedules",
  sql: /* sql */ `
CREATE TABLE ops.backfills (
  backfill_id varchar(50) PRIMARY KEY,
  pipeline_name varchar(100) NOT NULL,
  -- What was asked for; the same again while it runs continues it.
  selection jsonb NOT NULL,
  status varchar(20) NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'partial', 'failed')),
  -- Partitions of the range that needed nothing.
  skipped integer NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);
CREATE INDEX backfills_by_pipeline ON ops.backfills (pipeline_name, started_at DESC);
-- Two that begin the same at once become one.
CREATE UNIQUE INDEX backfills_running ON ops.backfills (pipeline_name, selection) WHERE status = 'running';

CREATE TABLE ops.backfill_partitions (
  backfill_id varchar(50) NOT NULL REFERENCES ops.backfills ON DELETE CASCADE,
  pipeline_name varchar(100) NOT NULL,
  partition_key text NOT NULL,
  -- Ascending in the order in which partitions are to be built.
  ordinal integer NOT NULL,
  reason text NOT NULL,
  status varchar(20) NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'active', 'done', 'failed')),
  attempts integer NOT NULL DEFAULT 0,
  worker text,
  run_id varchar(50),
  error_code text,
  error_message text,
  error_hint text,
  queued_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  heartbeat_at timestamptz,
  finished_at timestamptz,
  PRIMARY KEY (backfill_id, partition_key)
);
CREATE INDEX backfill_partitions_open ON ops.backfill_partitions (pipeline_name, partition_key)
  WHERE status IN ('queued', 'active');

CREATE TABLE ops.schedules (
  pipeline_name varchar(100) PRIMARY KEY,
  cron text NOT NULL,
  timezone text NOT NULL,
  catch_up text NOT NULL CHECK (catch_up IN ('latest', 'all', 'none')),
  -- Every tick up to here was decided on.
  decided_until timestamptz NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ops.schedule_ticks (
  pipeline_name varchar(100) NOT NULL,
  tick timestamptz NOT NULL,
  status varchar(20) NOT NULL CHECK (status IN ('queued', 'active', 'done', 'failed', 'coalesced', 'skipped')),
  worker text,
  run_id varchar(50),
  error_code text,
  error_message text,
  decided_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  finished_at timestamptz,
  PRIMARY KEY (pipeline_name, tick)
);
CREATE INDEX schedule_ticks_open ON ops.schedule_ticks (pipeline_name, tick) WHERE status IN ('queued', 'active');

CREATE TABLE ops.overdue_partitions (
  pipeline_name varchar(100) NOT NULL,
  partition_key text NOT NULL,
  due_at timestamptz NOT NULL,
  reason text NOT NULL,
  noticed_at timestamptz NOT NULL DEFAULT now(),
  -- When it was seen done.
  resolved_at timestamptz,
  PRIMARY KEY (pipeline_name, partition_key)
);
`,
}
