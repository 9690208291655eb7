import type { Migration } from "../../postgres/migrate.ts"

/** The `ops` schema: what people query. And `ops_staging`: what runs in flight need. */
export const ops: Migration = {
  number: 1,
  name: "ops",
  sql: /* sql */ `
CREATE SCHEMA IF NOT EXISTS ops;
CREATE SCHEMA IF NOT EXISTS ops_staging;

-- One number per partition version, taken in the order of processing; _seq = number * 2^32 + position, so it orders rows
-- by run, partition and position, and reading the same version again gives the same _seq.
CREATE SEQUENCE ops.partition_seq AS bigint;

CREATE TABLE ops.runs (
  run_id varchar(50) PRIMARY KEY,
  run_no bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  pipeline_name varchar(100) NOT NULL,
  attempt integer NOT NULL DEFAULT 1,
  status varchar(20) NOT NULL CHECK (status IN ('running', 'completed', 'partial', 'failed', 'cancelled')),
  definition_version text NOT NULL,
  full_read boolean NOT NULL DEFAULT false,
  correlation_id varchar(50),
  holder text,
  started_at timestamptz NOT NULL DEFAULT now(),
  attempt_started_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  published integer NOT NULL DEFAULT 0,
  held integer NOT NULL DEFAULT 0,
  unchanged integer NOT NULL DEFAULT 0,
  counts jsonb NOT NULL DEFAULT '{}',
  nulls jsonb NOT NULL DEFAULT '{}',
  error_code text,
  error_message text,
  error_hint text
);
CREATE INDEX runs_by_pipeline ON ops.runs (pipeline_name, run_no DESC);

CREATE TABLE ops.leases (
  pipeline_name varchar(100) NOT NULL,
  partition_key text NOT NULL,
  -- The application_name of the holder's connections is 'spillway/' || holder. Null: released.
  holder text,
  run_id varchar(50),
  epoch bigint NOT NULL DEFAULT 1,
  backend_pid integer,
  host text,
  process_id integer,
  acquired_at timestamptz NOT NULL DEFAULT now(),
  renewed_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (pipeline_name, partition_key)
);
CREATE INDEX leases_by_holder ON ops.leases (holder) WHERE holder IS NOT NULL;

CREATE TABLE ops.source_positions (
  pipeline_name varchar(100) NOT NULL,
  partition_key text NOT NULL,
  position jsonb NOT NULL DEFAULT 'null',
  -- Raised by whoever takes the lease; a commit names the epoch it works under.
  epoch bigint NOT NULL,
  run_id varchar(50),
  -- Named by the transaction that wrote the row: the evidence when the answer to a COMMIT was lost.
  commit_id text,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (pipeline_name, partition_key)
);

CREATE TABLE ops.processed_partitions (
  pipeline_name varchar(100) NOT NULL,
  partition_key text NOT NULL,
  status varchar(20) NOT NULL CHECK (status IN ('in_progress', 'completed', 'held', 'failed')),
  version text,
  seq bigint,
  definition_version text NOT NULL,
  snapshot pg_snapshot,
  run_id varchar(50) NOT NULL,
  counts jsonb NOT NULL DEFAULT '{}',
  error_code text,
  error_message text,
  error_hint text,
  processed_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (pipeline_name, partition_key)
);
CREATE INDEX processed_partitions_open ON ops.processed_partitions (pipeline_name, status) WHERE status <> 'completed';

CREATE TABLE ops.processed_months (
  id serial PRIMARY KEY,
  pipeline_name varchar(100) NOT NULL,
  month_key varchar(7) NOT NULL,
  year integer NOT NULL,
  month integer NOT NULL,
  processed_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  status varchar(20) NOT NULL CHECK (status IN ('in_progress', 'completed', 'failed')),
  UNIQUE (pipeline_name, month_key)
);

CREATE TABLE ops.source_files (
  pipeline_name varchar(100) NOT NULL,
  path text NOT NULL,
  size bigint,
  content_hash text NOT NULL,
  stamp jsonb NOT NULL DEFAULT 'null',
  first_seen timestamptz NOT NULL DEFAULT now(),
  last_seen timestamptz NOT NULL DEFAULT now(),
  vanished_at timestamptz,
  run_id varchar(50) NOT NULL,
  PRIMARY KEY (pipeline_name, path)
);

-- What commits into a table are asked to keep track of, by those who read it. In expression, $row stands for a row.
CREATE TABLE ops.tracked_partitions (
  table_name text NOT NULL,
  partition_by text NOT NULL,
  expression text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (table_name, partition_by)
);

CREATE TABLE ops.touched_partitions (
  id bigserial PRIMARY KEY,
  table_name text NOT NULL,
  partition_by text NOT NULL,
  partition_value text NOT NULL,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  run_id varchar(50) NOT NULL,
  touched_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX touched_partitions_by_table ON ops.touched_partitions (table_name, partition_by, partition_value);

CREATE TABLE ops.dead_letters (
  id text PRIMARY KEY,
  fingerprint text NOT NULL,
  pipeline_name varchar(100) NOT NULL,
  run_id varchar(50) NOT NULL,
  correlation_id varchar(50),
  partition_key text NOT NULL,
  ordinal bigint NOT NULL,
  -- The number of the partition's version it was read from; null where that is not known.
  seq bigint,
  source jsonb NOT NULL,
  step text NOT NULL,
  error_code text NOT NULL,
  error_msg text NOT NULL,
  rule text,
  path text,
  faults jsonb NOT NULL DEFAULT '[]',
  record jsonb,
  raw bytea NOT NULL,
  -- Set when the record was too long to keep: its length and SHA-256; raw is then its head.
  oversize jsonb,
  attempts integer NOT NULL DEFAULT 1,
  first_seen timestamptz NOT NULL DEFAULT now(),
  last_seen timestamptz NOT NULL DEFAULT now(),
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'replayed', 'discarded', 'poisoned', 'superseded')),
  status_reason text,
  replay_of text,
  schema_version text NOT NULL
);
CREATE INDEX dead_letters_by_partition ON ops.dead_letters (pipeline_name, partition_key, ordinal);
CREATE INDEX dead_letters_by_fingerprint ON ops.dead_letters (fingerprint, status);

CREATE TABLE ops.dead_letter_groups (
  fingerprint text PRIMARY KEY,
  pipeline_name varchar(100) NOT NULL,
  state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'ongoing', 'escalating', 'regressed', 'resolved', 'suppressed')),
  title text NOT NULL,
  note text,
  suppressed_until timestamptz,
  suppress_reason text,
  first_seen timestamptz NOT NULL DEFAULT now(),
  last_seen timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ops.replays (
  replay_id varchar(50) PRIMARY KEY,
  pipeline_name varchar(100) NOT NULL,
  -- The user of the operating system.
  requested_by text NOT NULL,
  selection jsonb NOT NULL,
  patch jsonb,
  -- What makes two of them the same operation: the second joins the first while that is unfinished.
  operation text NOT NULL,
  forced boolean NOT NULL DEFAULT false,
  status varchar(20) NOT NULL CHECK (status IN ('running', 'interrupted', 'aborted', 'failed', 'completed')),
  -- Letters per outcome.
  outcomes jsonb NOT NULL DEFAULT '{}',
  error_code text,
  error_message text,
  started_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);
CREATE INDEX replays_by_pipeline ON ops.replays (pipeline_name, started_at DESC);

CREATE TABLE ops.replay_letters (
  replay_id varchar(50) NOT NULL REFERENCES ops.replays ON DELETE CASCADE,
  letter_id text NOT NULL,
  outcome varchar(20) NOT NULL CHECK (outcome IN ('loaded', 'outdated', 'filtered', 'discarded', 'failed', 'poisoned', 'left')),
  reason text,
  error_code text,
  -- The record as patched, where there was a patch; the letter keeps the original.
  record jsonb,
  replayed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (replay_id, letter_id)
);
CREATE INDEX replay_letters_by_letter ON ops.replay_letters (letter_id);

CREATE TABLE ops.pipeline_checkpoint (
  id serial PRIMARY KEY,
  pipeline_name varchar(100) NOT NULL,
  run_id varchar(50) NOT NULL,
  stage varchar(100) NOT NULL,
  checkpoint_key varchar(255) NOT NULL DEFAULT '',
  checkpoint_value varchar(255),
  status varchar(20) NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed', 'failed')),
  start_time timestamptz,
  end_time timestamptz,
  duration_ms integer,
  metadata jsonb,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (run_id, stage, checkpoint_key)
);
CREATE INDEX pipeline_checkpoint_by_pipeline ON ops.pipeline_checkpoint (pipeline_name, start_time DESC);
CREATE INDEX pipeline_checkpoint_open ON ops.pipeline_checkpoint (pipeline_name) WHERE status = 'in_progress';

CREATE TABLE ops.pipeline_logs (
  id bigserial PRIMARY KEY,
  timestamp timestamptz NOT NULL DEFAULT now(),
  level varchar(10) NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')),
  message text NOT NULL,
  logger varchar(100),
  pipeline_name varchar(100),
  run_id varchar(50),
  module varchar(100),
  function varchar(100),
  line integer,
  metadata jsonb
);
CREATE INDEX pipeline_logs_by_run ON ops.pipeline_logs (run_id, id);
CREATE INDEX pipeline_logs_by_time ON ops.pipeline_logs (timestamp);

CREATE TABLE ops.metrics (
  id bigserial PRIMARY KEY,
  ts timestamptz NOT NULL DEFAULT now(),
  run_id varchar(50),
  pipeline_name varchar(100),
  metric_name text NOT NULL,
  metric_value double precision NOT NULL,
  metric_type text NOT NULL,
  dims jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX metrics_by_name ON ops.metrics (metric_name, ts);

CREATE TABLE ops.quality_results (
  id bigserial PRIMARY KEY,
  run_id varchar(50) NOT NULL,
  pipeline_name varchar(100) NOT NULL,
  partition_key text NOT NULL,
  table_name text NOT NULL,
  check_name text NOT NULL,
  severity text NOT NULL CHECK (severity IN ('warn', 'fail')),
  passed boolean NOT NULL,
  observed double precision,
  message text NOT NULL,
  samples jsonb NOT NULL DEFAULT '[]',
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX quality_results_by_run ON ops.quality_results (run_id, partition_key);

CREATE TABLE ops.incidents (
  id bigserial PRIMARY KEY,
  incident_key text NOT NULL,
  pipeline_name varchar(100),
  stage text,
  symptom text NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved')),
  summary jsonb NOT NULL DEFAULT '{}',
  opened_at timestamptz NOT NULL DEFAULT now(),
  acknowledged_at timestamptz,
  resolved_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX incidents_by_key ON ops.incidents (incident_key, opened_at DESC);

CREATE TABLE ops.reviews (
  id bigserial PRIMARY KEY,
  pipeline_name varchar(100) NOT NULL,
  record_id text NOT NULL,
  record jsonb,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'rejected')),
  reviewer text,
  reason text,
  sampled_at timestamptz NOT NULL DEFAULT now(),
  decided_at timestamptz,
  UNIQUE (pipeline_name, record_id)
);

CREATE TABLE ops.breakers (
  name text PRIMARY KEY,
  state text NOT NULL CHECK (state IN ('closed', 'open', 'half_open')),
  opened_at timestamptz,
  retry_at timestamptz,
  stats jsonb NOT NULL DEFAULT '{}',
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- How far each partition of a run in flight is staged. Logged, as all of staging: a rolled back CREATE UNLOGGED TABLE can
-- keep a crashed server from starting again.
CREATE TABLE ops_staging.progress (
  run_id varchar(50) NOT NULL,
  partition_key text NOT NULL,
  partition_no integer NOT NULL,
  group_no integer NOT NULL,
  version text NOT NULL,
  seq bigint NOT NULL,
  epoch bigint NOT NULL,
  batches integer NOT NULL DEFAULT 0,
  position jsonb,
  complete boolean NOT NULL DEFAULT false,
  tally jsonb NOT NULL,
  PRIMARY KEY (run_id, partition_key)
);

CREATE TABLE ops_staging.dead_letters (
  run_id varchar(50) NOT NULL,
  partition_no integer NOT NULL,
  id text NOT NULL,
  fingerprint text NOT NULL,
  ordinal bigint NOT NULL,
  source jsonb NOT NULL,
  step text NOT NULL,
  error_code text NOT NULL,
  error_msg text NOT NULL,
  rule text,
  path text,
  faults jsonb NOT NULL,
  record jsonb,
  raw bytea NOT NULL,
  oversize jsonb
);
CREATE INDEX staged_dead_letters ON ops_staging.dead_letters (run_id, partition_no);
`,
}
