// One kill, the ordinary run after it, and whether everything is as it would have been without.
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { runPipeline, type RunEvent, type RunReport } from "../../src/index.ts"
import type { Orders } from "./kill-child.ts"
import { expected, makeDatasets, writeDataset, type Datasets, type Expected } from "./kill-data.ts"
import { phaseAfter, type Combination, type Moment, type Phase, type Scenario } from "./kill-moments.ts"
import { BATCH_RECORDS, killPipeline } from "./kill-pipelines.ts"
import type { KillServer } from "./kill-server.ts"
import { differences, inspect, type Inspection } from "./kill-state.ts"
import { SteppingProcess } from "./stepping-process.ts"
import type { Outcome as TrialOutcome } from "./trials.ts"
import { pass } from "./waiting.ts"

const CHILD = fileURLToPath(new URL("kill-child.ts", import.meta.url))

/** A run that nothing disturbed. */
interface Reference {
  readonly trail: readonly string[]
  readonly taken: number
  readonly before: Inspection | undefined
  readonly after: Inspection
}

export interface Outcome extends TrialOutcome {
  readonly phase: Phase
  /** Of the run after the kill: it went on with the killed one. */
  readonly resumed: boolean
  /** Records beyond those there are that both runs together read and staged; undefined where it says nothing: the server was killed too, or the work was begun anew on purpose. */
  readonly again: { readonly read: number; readonly staged: number } | undefined
}

/** Batches that are read and not yet staged: a batch is copied while it is read. */
const READ_AHEAD = 1

const EMPTY = "kill_empty"
const nameOf = ({ mode, scenario }: Combination): string => `kill_${mode}_${scenario.replace(/\W/g, "_")}`
/** The database a scenario starts from. */
const startOf = ({ mode, scenario }: Combination): string =>
  scenario === "first run" ? EMPTY : nameOf({ mode, scenario: "first run" })
const folderOf = (scenario: Scenario): "base" | "changed" => (scenario === "changed file" ? "changed" : "base")

export class Bench {
  readonly #server: KillServer
  readonly #data: Datasets
  readonly #references = new Map<string, Reference>()
  #next: SteppingProcess<Orders>

  private constructor(server: KillServer, data: Datasets) {
    this.#server = server
    this.#data = data
    this.#next = this.#another()
  }

  /** Writes the data, and runs every combination once without disturbing it; throws when one is not what the data demand. */
  static async prepare(server: KillServer, seed: number, all: readonly Combination[]): Promise<Bench> {
    const data = makeDatasets(seed)
    const bench = new Bench(server, data)
    for (const folder of ["base", "changed"] as const) await writeDataset(join(server.directory, folder), data[folder])
    await server.create(EMPTY)
    for (const mode of new Set(all.map((combination) => combination.mode))) {
      await bench.#refer({ mode, scenario: "first run" })
      for (const combination of all)
        if (combination.mode === mode && combination.scenario !== "first run") await bench.#refer(combination)
    }
    return bench
  }

  trailOf(combination: Combination): readonly string[] {
    return this.#reference(combination).trail
  }

  dispose(): void {
    this.#next.kill()
  }

  async #refer(combination: Combination): Promise<void> {
    const { mode, scenario } = combination
    const name = nameOf(combination)
    await this.#server.query(`CREATE DATABASE ${name} TEMPLATE ${startOf(combination)}`)
    const trail = await this.#victim().follow({ ...this.#orders(combination, name), killAt: undefined })
    if (trail.at(-1)?.startsWith("END completed") !== true)
      throw new Error(`the undisturbed ${name} ended so: ${trail.at(-1)}`)
    const after = await inspect(this.#server.urlOf(name), mode, mode === "append" || scenario !== "changed file")
    const before = scenario === "first run" ? undefined : this.#reference({ mode, scenario: "first run" }).after
    const should = expected(mode, this.#data.base, scenario === "changed file" ? this.#data.changed : undefined)
    const faults = [
      ...differencesOf(after.found, should),
      ...after.wrong,
      ...this.#tupleFaults(scenario, before, after),
    ]
    if (faults.length > 0) throw new Error(`the undisturbed ${name} is wrong:\n  ${faults.join("\n  ")}`)
    this.#references.set(name, { trail, taken: taken(trail), before, after })
  }

  #reference(combination: Combination): Reference {
    const reference = this.#references.get(nameOf(combination))
    if (reference === undefined) throw new Error(`${nameOf(combination)} was not prepared`)
    return reference
  }

  /** A process that is ready; another one gets ready meanwhile. */
  #victim(): SteppingProcess<Orders> {
    const victim = this.#next
    this.#next = this.#another()
    return victim
  }

  #another(): SteppingProcess<Orders> {
    return new SteppingProcess(CHILD, { cache: this.#server.cache })
  }

  #orders({ mode, scenario }: Combination, name: string): Omit<Orders, "killAt" | "standStill"> {
    const directory = join(this.#server.directory, folderOf(scenario))
    return { mode, url: this.#server.urlOf(name), directory, full: scenario === "re-run" }
  }

  run(moment: Moment): Promise<Outcome> {
    return this.#server.withCopy(startOf(moment), (name) => this.#runIn(name, moment), moment.server !== "lives")
  }

  async #runIn(name: string, moment: Moment): Promise<Outcome> {
    const { mode } = moment
    const orders = { ...this.#orders(moment, name), killAt: moment.killAt, standStill: moment.standStill }
    const trail = await this.#victim().follow(orders, (kill) => this.#strike(moment, kill))
    if (moment.server !== "lives") await this.#server.restart()

    const events: RunEvent[] = []
    let takenNow = 0
    const full = moment.scenario === "re-run" && moment.continueFull
    const thrown: string[] = []
    const report = await runPipeline(
      killPipeline(mode, (_file, records) => (takenNow += records)),
      { database: this.#server.urlOf(name), directory: orders.directory, full, on: (event) => events.push(event) },
    ).catch((error: unknown) => void thrown.push(`the run after the kill threw ${String(error)}`))
    const after = await inspect(this.#server.urlOf(name), mode)
    const faults = [...thrown, ...(report === undefined ? [] : this.#faults(moment, report, after))]

    const resumed = report !== undefined && report.attempt > 1
    const counted = moment.server === "lives" && (resumed || moment.scenario !== "re-run")
    const total = this.#reference(moment).taken
    const again = counted
      ? { read: taken(trail) + takenNow - total, staged: staged(trail) + stagedBy(events) - total }
      : undefined
    if (again !== undefined && (again.staged > BATCH_RECORDS || again.read > READ_AHEAD * BATCH_RECORDS))
      faults.push(`${again.read} records were read again, ${again.staged} of them had been staged`)
    return { phase: phaseAfter(trail), last: trail.at(-1) ?? "", resumed, again, faults }
  }

  async #strike(moment: Moment, kill: () => void): Promise<void> {
    if (!moment.standStill) await pass(moment.delayMs)
    if (moment.server === "killed before the client") await this.#server.kill()
    kill()
    if (moment.server === "killed after the client") await this.#server.kill()
  }

  #faults(moment: Moment, report: RunReport, after: Inspection): string[] {
    const reference = this.#reference(moment)
    const faults: string[] = []
    if (report.status !== "completed")
      faults.push(`the run after the kill ended ${report.status}: ${report.error?.message}`)
    faults.push(...after.wrong, ...differences(after.state, reference.after.state))
    // A re-run that is done twice, or given up, has counts of its own.
    if (moment.scenario !== "re-run" || (after.runs === reference.after.runs && moment.continueFull))
      faults.push(...differences(after.ofTheRun, reference.after.ofTheRun))
    if (after.rows.there !== after.rows.accounted)
      faults.push(`conservation: the table has ${after.rows.there} rows, the runs account for ${after.rows.accounted}`)
    faults.push(...this.#tupleFaults(moment.scenario, reference.before, after))
    return faults
  }

  /** A re-run writes no tuple at all, a changed file none of the other files' rows. */
  #tupleFaults(scenario: Scenario, before: Inspection | undefined, after: Inspection): string[] {
    if (before === undefined) return []
    const sources = scenario === "re-run" ? [...before.tuples.keys()] : this.#data.untouched
    return sources.flatMap((source) => {
      const old = new Set(before.tuples.get(source))
      const fresh = (after.tuples.get(source) ?? []).filter((tuple) => !old.has(tuple))
      return fresh.length === 0 ? [] : [`${fresh.length} rows of ${source} were written anew`]
    })
  }
}

const differencesOf = (found: Expected, should: Expected): string[] => differences({ ...found }, { ...should })

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0)
const numbersAfter = (trail: readonly string[], start: string): number[] =>
  trail.filter((line) => line.startsWith(start)).map((line) => Number(line.slice(start.length)))
const taken = (trail: readonly string[]): number => sum(numbersAfter(trail, "T "))
const staged = (trail: readonly string[]): number => sum(numbersAfter(trail, "E batch.staged "))
const stagedBy = (events: readonly RunEvent[]): number =>
  sum(events.map((event) => (event.type === "batch.staged" ? event.read : 0)))
