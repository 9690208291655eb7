export type { Batch, DecodeFault, Fault, Place, Position, RecordObject } from "./core/records.ts"
export type {
  Check,
  CheckVerdict,
  Column,
  Decoder,
  DecoderOptions,
  Format,
  KnownPartition,
  PartitionMeasures,
  PartitionReader,
  RandomAccess,
  RecordCheck,
  RecordSchema,
  SetCheck,
  Source,
  SourceContext,
  SourceNotice,
  SourcePartition,
} from "./core/contracts.ts"
export type { Counts, PartitionReason, RunEvent, RunStatus } from "./core/events.ts"
export { SpillwayError, type ErrorClass, type ErrorCode, type ErrorDetails, type ReportedError } from "./core/errors.ts"
export {
  pipeline,
  table,
  type NewColumnPolicy,
  type Pipeline,
  type PipelineOptions,
  type Sink,
  type TableMode,
  type TableOptions,
  type TableSink,
} from "./engine/definition.ts"
export { csvFiles, jsonlFiles, type FileSink, type FileSinkOptions } from "./engine/files/file-sink.ts"
export { model, reads, type Model, type ModelOptions, type TableRead } from "./engine/model/model.ts"
export { stages, type Stages, type StagesOptions } from "./engine/stages.ts"
export { project, type Project, type ProjectOptions, type Runnable } from "./engine/project.ts"
export { day, month, value, whole, type PartitionUnit } from "./models/partition-unit.ts"
export { openDatabase, type OpenDatabaseOptions } from "./engine/database.ts"
export { previewPipeline, type PreviewOptions, type PreviewRecord } from "./engine/preview.ts"
export {
  partitionsOf,
  planReplay,
  replayLetters,
  run,
  runPipeline,
  type PartitionPlan,
  type ReplayOptions,
  type ReplayPlan,
  type ReplayReport,
  type ReplaySelection,
} from "./engine/run-any.ts"
export { discard, mergePatch, type Fix, type LetterToFix, type Patch } from "./dead-letters/patch.ts"
export type { RunOptions } from "./engine/run.ts"
export type { RunReport } from "./engine/report.ts"
export { csv, type CsvOptions } from "./formats/csv.ts"
export { json } from "./formats/json.ts"
export { jsonl } from "./formats/jsonl.ts"
export { files, type FilesOptions } from "./sources/files.ts"
export type { ObjectStorage } from "./sources/s3/object-storage.ts"
export { env, type FromEnvironment, type Setting } from "./core/environment.ts"
export { database, type Database, type Session } from "./postgres/session.ts"
export type { AnySchema } from "./schema/adapter.ts"
export type { ColumnOptions } from "./schema/columns.ts"
export { accepted, notNull, nullRatio, passRate, range, recordCheck, rowCount, sql, unique } from "./quality/index.ts"
export {
  prune,
  type PruneOptions,
  type PruneReport,
  type Retention,
  type RetentionOptions,
} from "./ledger/retention.ts"
export {
  validate,
  validateEach,
  type BadRecord,
  type Judged,
  type OutputOf,
  type ValidateResult,
} from "./validate/validate.ts"
export type { RecordsOptions, ValidateInput } from "./validate/record-batches.ts"
export { expected } from "./scheduler/expected.ts"
export { backfill, work, type WorkOptions } from "./scheduler/library.ts"
export type { BackfillReport } from "./scheduler/backfill.ts"
export type { BackfillRange } from "./scheduler/range.ts"
export type { WorkerSummary } from "./scheduler/worker.ts"
