/** What Spillway's own tests use, for testing your pipelines. */
export { systemClock, type Clock } from "../core/clock.ts"
export { nodeFiles, type Files, type FileStat } from "../core/files.ts"
export { systemPorts, type FailpointName, type Failpoints, type Ports } from "../core/ports.ts"
export { seededRandom, systemRandom, type Random } from "../core/random.ts"
export { manualClock, type ManualClock } from "./clock.ts"
export { throwAwayDatabase, type ThrowAwayDatabase } from "./database.ts"
export { FAILPOINTS, REPLAY_FAILPOINTS, failpoints, onThe, type FailpointAction } from "./failpoints.ts"
export { recordsSource, type RecordsByPartition } from "./records-source.ts"
