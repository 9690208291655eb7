import type { ErrorCode } from "./errors.ts"

/** What `spillway explain CODE` says, written for the person who is woken by it. */
export interface Explanation {
  readonly title: string
  /** What happened. */
  readonly meaning: string
  /** What the engine does about it by itself. */
  readonly engine: string
  /** What the reader can do. */
  readonly action: string
}

export const errorCatalog: Readonly<Record<ErrorCode, Explanation>> = {
  VALIDATION: {
    title: "a record breaks the schema or a check",
    meaning:
      "The record could be read, but a field is missing, has the wrong type or breaks a rule of the schema or of a record-level check.",
    engine:
      "Sets the one record aside as a dead letter with its file, line and raw text, and loads the others. If too many break, the partition's gate holds it.",
    action:
      "Run `spillway dlq export` to see the records and the rule that failed. If the data is wrong, have it corrected at the source; the next run reads the changed file and the letter becomes superseded. If the rule is wrong, mend the schema and run with `--full`.",
  },
  DECODE: {
    title: "bytes could not be turned into a record",
    meaning:
      "A line has the wrong number of fields, an unclosed quote, bytes that are not UTF-8 or broken JSON; or a whole file is damaged (a truncated gzip).",
    engine:
      "Sets the one record aside with its exact bytes and goes on at the next line. A damaged file is held as a whole and nothing of it is published.",
    action:
      "Look at the raw text with `spillway dlq export --code DECODE`. Check delimiter, quoting and encoding of the format against the file. For a damaged file, fetch it again: the next run picks the new content up by itself.",
  },
  TRANSFORM: {
    title: "the pipeline's own code failed on a record",
    meaning: "`prepare` or `transform` threw an exception for this record, or returned something that is not a record.",
    engine: "Sets the record aside as a dead letter with the exception's message, and loads the others.",
    action:
      "Run `spillway preview PIPELINE` to see the record step by step, and mend the function in the project. Then run with `--full` so that the record is read again.",
  },
  QUALITY_GATE: {
    title: "a partition failed its quality gate",
    meaning:
      "A check over the whole partition (pass rate, uniqueness, row count …) failed, so the partition as it stands is not fit to be read.",
    engine:
      "Publishes nothing of this partition, keeps its dead letters and the check's samples, and goes on with the others. The run ends partial.",
    action:
      "`spillway status` names the partition and the check, `ops.quality_results` holds samples. Correct the data and run again: a held partition is tried anew in every run. If the check is too strict, change it in the project.",
  },
  LATE: {
    title: "an event came after its window had closed",
    meaning:
      "The record's event time is older than the watermark allows, so the result it belongs to was already completed.",
    engine:
      "Sets the record aside as a dead letter (or accepts it, where the late policy says so). It is never dropped.",
    action:
      "If this happens often, give the stream a larger watermark or allowed lateness. Single late records can be replayed from the dead letters; look for a producer whose clock or network is behind.",
  },
  DUPLICATE: {
    title: "the same key appears more than once",
    meaning: "Two records of one partition carry the same key, and the pipeline asked for them to be unique.",
    engine:
      "Keeps the later record and counts the other as a duplicate; where a check forbids duplicates the record is set aside or the partition is held.",
    action:
      "See whether the key in `table(…, { key })` really identifies a row. If the source repeats records by design, no action is needed: the counts show how many.",
  },
  SCHEMA_DRIFT: {
    title: "the columns of the source or the table changed",
    meaning:
      "A file carries a column that the schema does not know, lacks one that it requires, or the target table's columns differ from the schema's.",
    engine: "Holds the partition and publishes nothing of it; the other partitions go on.",
    action:
      "The message names the file and the column. Add the column to the schema, or set `onNewColumn` to `evolve`, `ignore` or `deadLetter`. If a required column is gone, ask the source's owner before making it optional. Then run again.",
  },
  HTTP_4XX: {
    title: "the server refused the request",
    meaning:
      "The address answered with a status from 400 to 499 (other than 401, 403 and 429): the request itself is wrong, or what it asks for is gone.",
    engine:
      "Does not try again, because the same request would be refused again. The partition is held or the run stops.",
    action:
      "Check the address, parameters and version of the API in the pipeline's source. If the page is gone for good, change the source; otherwise ask the API's owner with the status and the address at hand.",
  },
  HTTP_429: {
    title: "the server asks us to slow down",
    meaning: "The address answered 429 Too Many Requests: the quota is used up.",
    engine:
      "Waits at least as long as `Retry-After` says, and tries again. When the wait would be too long, it checkpoints and stops cleanly.",
    action:
      "Usually nothing: run again later and it goes on where it stopped. If it happens in every run, lower the request rate of the source or ask for a larger quota.",
  },
  HTTP_5XX: {
    title: "the server failed",
    meaning: "The address answered with a status from 500 to 599: the trouble is on the other side.",
    engine:
      "Tries again with growing pauses. When it keeps failing, the run stops with what is already committed kept.",
    action: "Check the API's status page. Run again when it is back: the run continues where it stopped.",
  },
  TIMEOUT: {
    title: "no answer in time",
    meaning: "A request or a statement took longer than it is allowed to.",
    engine: "Tries again with growing pauses, as long as the operation is safe to repeat.",
    action:
      "See whether the other side is slow or down, and whether another session blocks the database (`pg_stat_activity`). Raise the time-out only when slow answers are normal there.",
  },
  NETWORK: {
    title: "the connection was refused or broke",
    meaning: "The network connection to a server could not be made, or was cut while in use.",
    engine: "Tries again with growing pauses. A commit whose answer was lost is looked up, never repeated blindly.",
    action:
      "Check that host and port are right and reachable from this machine (firewall, VPN, proxy). Then run again: nothing that was committed is repeated.",
  },
  DNS: {
    title: "a host name could not be resolved",
    meaning: "The name of the server is unknown to this machine's name service, or the name service does not answer.",
    engine: "Tries again with growing pauses, because name services often fail for a moment only.",
    action:
      "Check the spelling of the host name, then `getent hosts NAME` on this machine. In containers, check the network that the container is in.",
  },
  TLS: {
    title: "the encrypted connection could not be trusted",
    meaning: "The server's certificate is expired, made for another name or signed by nobody this machine trusts.",
    engine: "Stops. Trying again would not help, and going on without trust would not be safe.",
    action:
      "Check the certificate's dates and names, and this machine's clock. For a private certificate authority set `NODE_EXTRA_CA_CERTS`. Do not turn verification off.",
  },
  AUTH: {
    title: "the credentials were not accepted",
    meaning: "The database or the API answered that the user, password, token or permission is not good enough.",
    engine: "Stops at once, so that no account gets locked by repeated attempts.",
    action:
      "Check the credentials in the environment or in the project's `.env`, and whether they expired. For the database, check that the user may create the schema `ops` and write the target table.",
  },
  CIRCUIT_OPEN: {
    title: "calls to a failing service are paused",
    meaning:
      "So many calls to this service failed that the circuit breaker opened. It lets a trial call through after a while.",
    engine: "Sends nothing to the service until the pause is over, then tests it with a few calls.",
    action:
      "Find out why the service fails: the errors before this one say how. Run again when it is healthy; nothing that was committed is repeated.",
  },
  RETRY_EXHAUSTED: {
    title: "trying again did not help",
    meaning: "An operation failed in every attempt it was allowed. The last failure is the cause.",
    engine: "Stops the operation. What was committed stays, and the position after it is kept.",
    action:
      "Read the cause (`--verbose`, or `spillway logs --level WARNING`): it names the real trouble. When it is over, run again and the run continues where it stopped.",
  },
  RETRY_BUDGET: {
    title: "too many calls had to be repeated",
    meaning:
      "The share of repeated calls to one host grew beyond its budget. More attempts would only add to the other side's load.",
    engine: "Stops repeating calls to that host. What was committed stays.",
    action:
      "The service is in trouble or throttles us: see `spillway logs --level WARNING` for the failures. Wait, then run again; lower the request rate if it returns.",
  },
  DB_CONSTRAINT: {
    title: "the database refused a value",
    meaning:
      "A value does not fit its column or breaks a constraint of the table: too large, not a valid date, a key too long for its index.",
    engine: "Finds the record by itself, sets it aside as a dead letter, and loads the others.",
    action:
      "See the record with `spillway dlq export --code DB_CONSTRAINT`. Tighten the schema so that such values are caught earlier, or widen the column. A constraint of your own on the target table must fit what the pipeline writes.",
  },
  DB_UNAVAILABLE: {
    title: "the database cannot be reached",
    meaning: "The connection to PostgreSQL could not be made, or was lost and did not come back in time.",
    engine:
      "Connects again with growing pauses; when the database stays away the run stops. Nothing half done is visible.",
    action:
      "For the embedded server: `spillway db status`, then `spillway db start`. For your own: check `DATABASE_URL` (or `DB_HOST`, `DB_PORT` …), that the server runs, and that it has connections left. Then run again.",
  },
  DB_SERIALIZATION: {
    title: "two transactions got in one another's way",
    meaning: "The database rolled a transaction back because of a deadlock or a conflict with another one.",
    engine: "Repeats the whole transaction; it had written nothing.",
    action: "Usually nothing. If it happens often, look for other programs that write the same table at the same time.",
  },
  LEASE_HELD: {
    title: "another run is working on this",
    meaning:
      "Another run of the same pipeline holds the lease on the partitions, so there is nothing left for this one to do.",
    engine:
      "Writes nothing and says who holds what since when. A lease whose holder died runs out by itself (after 30 seconds by default).",
    action:
      "Wait for the other run (`--wait` does that), or stop it. `spillway status` shows the leases. Never delete rows from `ops.leases` while a run is alive.",
  },
  LEASE_LOST: {
    title: "another run took over",
    meaning: "This process was stopped or stuck for longer than its lease, and another run took over its partitions.",
    engine: "Stops and writes nothing more: the fencing token keeps an old holder from overwriting the new one's work.",
    action:
      "Nothing is damaged; see `spillway status` for the run that took over. If it returns, look for what stalls the process (a suspended machine, memory pressure) or raise the pipeline's `leaseMs`.",
  },
  CONSERVATION: {
    title: "the counts do not add up",
    meaning:
      "The records read are not equal to those inserted, updated, unchanged, duplicate, superseded, filtered and dead-lettered; or the table's rows changed by another number than was counted.",
    engine: "Rolls the commit back: nothing of the partition becomes visible. It is not tried again.",
    action:
      "Look for triggers, rules or other programs that change the target table during the commit. If there are none, this is a defect of Spillway: please report it with the output of `spillway logs --run-id RUN`.",
  },
  CHECKPOINT: {
    title: "the position could not be kept",
    meaning:
      "The source position or the partition's state in `ops` could not be written, or does not fit what this run expected.",
    engine: "Rolls back the data that belongs to it: data and position are committed together or not at all.",
    action:
      "Check the disk and the permissions of the database. If somebody changed tables in `ops` by hand, put it back or run the pipeline with `--full`, which reads everything again and changes nothing that is right.",
  },
  DATA_LOSS: {
    title: "the source no longer has data that was not read yet",
    meaning:
      "There is a gap between where the last run stopped and what the source still offers: a file vanished or was cut, or the retention of a topic passed over it.",
    engine: "Stops instead of going on as if nothing were missing.",
    action:
      "Try to get the missing data back from its owner or a backup. If it is gone for good, accept the gap by name with `failOnDataLoss: false`, and write down what is missing.",
  },
  CONFIG: {
    title: "the command or the project is not right",
    meaning: "A flag, an environment variable or the declaration of a pipeline is missing, misspelt or contradictory.",
    engine: "Does nothing at all until it is mended. All faults that can be found are listed at once.",
    action:
      "Mend what the message lists; `where` names the file. `spillway check` tests the project without loading anything, and `spillway COMMAND --help` shows a command's flags.",
  },
  RESOURCE: {
    title: "this machine lacks something",
    meaning: "The disk is full, memory or file handles ran out, or a file may not be read.",
    engine: "Stops, or holds the one partition where only that is affected. What was committed stays.",
    action:
      "Check free space (`df -h`) for the project's `.spillway` folder and the database, limits (`ulimit -a`) and permissions of the files. Then run again: the run continues where it stopped.",
  },
  CANCELLED: {
    title: "somebody stopped the run",
    meaning: "The run was interrupted by Ctrl-C, by SIGTERM or by the program that started it.",
    engine: "Finishes the batch in hand, keeps its position, gives its leases back and stops.",
    action: "Run the same command again: it continues after the last batch, under the same run id.",
  },
  REVIEW_REJECTED: {
    title: "a person rejected the record",
    meaning: "The record was drawn for human review and the reviewer said it is wrong.",
    engine: "Sets the record aside as a dead letter with the reviewer's reason.",
    action:
      "Read the reason with the letter. If the same reason comes up again and again, turn it into a check so that it is found without a person.",
  },
  UNKNOWN: {
    title: "something that Spillway does not recognise",
    meaning: "An exception came up that has no code of its own. The original is kept as the cause.",
    engine: "Stops the run, because it cannot know that going on is safe. What was committed stays.",
    action:
      "Run again with `--verbose` and read the cause. If it comes from the project's own code, mend it there; otherwise please report it with the output of `spillway logs --run-id RUN`.",
  },
}

/** Every code, in the order of the catalog. */
export const errorCodes = Object.keys(errorCatalog) as ErrorCode[]

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorCatalog, text)
