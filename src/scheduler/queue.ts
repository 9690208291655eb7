import { PgBoss, type Db, type JobInsert } from "pg-boss"
import { SpillwayError } from "../core/errors.ts"
import { classifyDatabaseError } from "../postgres/errors.ts"
import type { Database, Session } from "../postgres/session.ts"

/** What a job asks for: one partition of a backfill, or the ticks of a schedule that are open. */
export type JobOrder = { readonly kind: "partition"; readonly key: string } | { readonly kind: "ticks" }

/** A job that this process has claimed. The claim lasts as long as it is touched. */
export interface Job {
  readonly pipeline: string
  readonly order: JobOrder
  readonly id: string
  /** Claims before this one. With the id it names the claim: what an older one does is ignored. */
  readonly retryCount: number
  readonly retryLimit: number
}

/** Where a job stands whose worker was not heard of. `gone`: nobody will ever take it. */
export type JobStanding = "waiting" | "active" | "failed" | "gone"

/** Connections that an open queue holds. */
export const QUEUE_CONNECTIONS = 2
/** A claim that is not touched for so long ends: the smallest that pg-boss takes. */
const HEARTBEAT_SECONDS = 10
/** How often dead claims are looked for. With the heartbeat, a killed worker's job is free after 10 to 15 seconds. */
const SUPERVISE_SECONDS = 5
/** Tries after the first one. */
export const RETRY_LIMIT = 3
/** Before the second try: 1 to 2 s; it doubles up to the cap. */
const RETRY_DELAY_SECONDS = 1
const RETRY_CAP_SECONDS = 60
/** Only a dead worker may end a claim, not a long build: as long as pg-boss allows. */
const CLAIM_SECONDS = 24 * 60 * 60 - 1
const SCHEMA = "ops_queue"
/** Schedules go before backfills. */
const TICKS_PRIORITY = 1_000_000_000

const queueOf = (pipeline: string): string => `spillway/${pipeline}`
const singletonKey = (order: JobOrder): string => (order.kind === "ticks" ? "ticks" : `partition:${order.key}`)

/** Runs pg-boss's statements on a session, so that they commit with its transaction. */
const onSession = (session: Session): Db => ({
  executeSql: (text, values) => session.query(text, values),
})

/** pg-boss, as far as it is used here: one queue for each pipeline; a partition is at most once in it, queued or active. */
export class JobQueue {
  readonly #boss: PgBoss
  readonly #known = new Set<string>()

  private constructor(boss: PgBoss) {
    this.#boss = boss
  }

  /** Connects, and creates or migrates the schema `ops_queue`. `onError` is told what pg-boss's own maintenance runs into. */
  static async open(database: Database, onError: (error: SpillwayError) => void): Promise<JobQueue> {
    const boss = new PgBoss({
      connectionString: database.url,
      application_name: "spillway-queue",
      schema: SCHEMA,
      max: QUEUE_CONNECTIONS,
      schedule: false,
      superviseIntervalSeconds: SUPERVISE_SECONDS,
      monitorIntervalSeconds: SUPERVISE_SECONDS,
    })
    boss.on("error", (error) => onError(classifyDatabaseError(error)))
    try {
      await boss.start()
    } catch (error) {
      await boss.stop({ graceful: false }).catch(() => undefined)
      throw classified(error)
    }
    return new JobQueue(boss)
  }

  /** Makes sure that the pipeline has a queue. */
  async prepare(pipeline: string): Promise<void> {
    if (this.#known.has(pipeline)) return
    await told(() =>
      this.#boss.createQueue(queueOf(pipeline), {
        policy: "exclusive",
        heartbeatSeconds: HEARTBEAT_SECONDS,
        expireInSeconds: CLAIM_SECONDS,
        retryLimit: RETRY_LIMIT,
        retryBackoff: true,
        retryDelay: RETRY_DELAY_SECONDS,
        retryDelayMax: RETRY_CAP_SECONDS,
      }),
    )
    this.#known.add(pipeline)
  }

  /** Queues orders in the session's transaction, the first ones to be taken first. One that is queued or active already stays as it is. */
  async add(session: Session, pipeline: string, orders: readonly JobOrder[], retryLimit = RETRY_LIMIT): Promise<void> {
    await this.prepare(pipeline)
    const jobs = orders.map((order, n): JobInsert<JobOrder> => ({
      data: order,
      singletonKey: singletonKey(order),
      priority: order.kind === "ticks" ? TICKS_PRIORITY : -n,
      retryLimit,
    }))
    if (jobs.length > 0) await told(() => this.#boss.insert(queueOf(pipeline), jobs, { db: onSession(session) }))
  }

  /** Claims the next job that is due; undefined when there is none. */
  async take(pipeline: string): Promise<Job | undefined> {
    await this.prepare(pipeline)
    const [job] = await told(() => this.#boss.fetch<JobOrder>(queueOf(pipeline), { includeMetadata: true }))
    if (job === undefined) return undefined
    const { id, data, retryCount, retryLimit } = job
    return { pipeline, order: data, id, retryCount, retryLimit }
  }

  /** Keeps the claim; false when it has ended. */
  async touch(job: Job): Promise<boolean> {
    return affected(await told(() => this.#boss.touch(queueOf(job.pipeline), claimOf(job))))
  }

  /** Ends a job that is settled, in the session's transaction; false when the claim has ended. */
  async complete(session: Session, job: Job): Promise<boolean> {
    const options = { db: onSession(session) }
    return affected(await told(() => this.#boss.complete(queueOf(job.pipeline), claimOf(job), null, options)))
  }

  /** Leaves the job to another try after a pause, in the session's transaction; false when the claim has ended. */
  async retry(session: Session, job: Job, reason: { code: string; message: string }): Promise<boolean> {
    const options = { db: onSession(session) }
    return affected(await told(() => this.#boss.fail(queueOf(job.pipeline), claimOf(job), reason, options)))
  }

  /** Gives a job back to whoever is next, in the session's transaction; it keeps the tries it had left. False when the claim has ended. */
  async giveBack(session: Session, job: Job): Promise<boolean> {
    if (!(await this.complete(session, job))) return false
    await this.add(session, job.pipeline, [job.order], Math.max(0, job.retryLimit - job.retryCount))
    return true
  }

  /** Where the newest job of an order stands. */
  async standing(pipeline: string, order: JobOrder): Promise<JobStanding> {
    await this.prepare(pipeline)
    const jobs = await told(() => this.#boss.findJobs(queueOf(pipeline), { key: singletonKey(order) }))
    const newest = jobs.sort((a, b) => b.createdOn.getTime() - a.createdOn.getTime())[0]
    if (newest?.state === "created" || newest?.state === "retry") return "waiting"
    return newest?.state === "active" || newest?.state === "failed" ? newest.state : "gone"
  }

  async close(): Promise<void> {
    await this.#boss.stop({ graceful: false })
  }
}

const claimOf = (job: Job): { id: string; retryCount: number } => ({ id: job.id, retryCount: job.retryCount })

/** pg-boss does not declare what its commands answer. */
const affected = (response: object): boolean => (response as { affected?: number }).affected === 1

async function told<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    throw classified(error)
  }
}

function classified(error: unknown): SpillwayError {
  const known = classifyDatabaseError(error)
  if (known.code !== "UNKNOWN") return known
  return new SpillwayError("UNKNOWN", `the job queue failed: ${known.message}`, {
    cause: error,
    where: `schema ${SCHEMA}`,
    hint: "see the cause with --verbose; the queue can be looked at in SQL: SELECT * FROM ops_queue.job",
  })
}
