import { ByteTable } from "./byte-table.ts"
import { describeLetter } from "./described-letter.ts"
import type { LetterPlace } from "./letter-files.ts"
import { FAULT, fieldAndRule, LETTER, LetterReader, type FieldAndRule, type LetterFacts } from "./letter-facts.ts"
import type { Masking } from "./masking.ts"
import type { ObjectScan } from "./object-scan.ts"
import { SampleText } from "./sample-text.ts"
import { Timeline, type Slices } from "./timeline.ts"
import { mostFirst, type GroupTally, type TriageReport, type UnreadLetter } from "./triage-report.ts"

export interface TallyOptions {
  /** Letters that are not chosen are not counted. Default: all are. */
  readonly choose?: ((letter: LetterFacts) => boolean) | undefined
  /** Samples kept of each group. */
  readonly samples: number
  readonly masking: Masking
}

/** Memory stays bounded whatever the letters hold: beyond these, letters are counted in the totals only. */
const MOST_GROUPS = 10_000
const MOST_NAMES = 10_000
const MOST_CAUSES = 20_000
const MOST_SAMPLE_BYTES = 64 << 20
const UNREAD_SHOWN = 20

interface Counter {
  letters: number
}

interface FieldCounter extends Counter, FieldAndRule {}

interface Group extends Counter {
  readonly facts: Omit<GroupTally, "letters" | "firstSeen" | "lastSeen" | "trend" | "samples">
  firstSeen: number
  lastSeen: number
  readonly slices: Slices
  readonly samples: SampleText[]
}

/** What all letters with the same key values count in. */
interface Cause {
  readonly code: Counter
  readonly pipeline: Counter
  readonly field: FieldCounter
  readonly group: Group | undefined
}

/** Counts letters, one after the other, in constant memory. */
export class LetterTally {
  readonly #options: TallyOptions
  readonly #reader = new LetterReader()
  readonly #timeline = new Timeline()
  readonly #all = this.#timeline.slices()
  readonly #causes = new ByteTable<Cause>(MOST_CAUSES)
  readonly #sourceNames = new ByteTable<Counter>(MOST_NAMES)
  readonly #faultNames = new ByteTable<FieldCounter>(MOST_NAMES)
  readonly #statusNames = new ByteTable<Counter>(MOST_NAMES)
  readonly #codes = new Map<string, Counter>()
  readonly #fields = new Map<string, FieldCounter>()
  readonly #pipelines = new Map<string, Counter>()
  readonly #statuses = new Map<string, Counter>()
  readonly #sources = new Map<string, Counter>()
  readonly #groups = new Map<string, Group>()
  readonly #unreadSamples: UnreadLetter[] = []
  #unread = 0
  #letters = 0
  #ungrouped = 0
  #from = Infinity
  #to = -Infinity
  #sampleBytes = 0

  constructor(options: TallyOptions) {
    this.#options = options
  }

  /** Counts the letter that was scanned. */
  add(scan: ObjectScan, place: LetterPlace): void {
    const { choose } = this.#options
    if (choose !== undefined && !choose(this.#reader.facts(scan))) return
    const cause = this.#causeOf(scan)
    this.#letters++
    cause.code.letters++
    cause.pipeline.letters++
    this.#countFields(scan, cause)
    this.#named(this.#statusNames, this.#statuses, scan, LETTER.status, "pending").letters++
    const source = this.#reader.sourceRange(scan)
    if (source !== undefined) this.#named(this.#sourceNames, this.#sources, source.scan, source.key, "").letters++
    this.#countTime(scan, cause.group)
    if (cause.group === undefined) this.#ungrouped++
    else this.#addToGroup(scan, cause.group, place)
  }

  /** Notes something that is not a letter. */
  cannotRead(where: string, reason: string): void {
    this.#unread++
    if (this.#unreadSamples.length < UNREAD_SHOWN) this.#unreadSamples.push({ where, reason })
  }

  /** What was counted so far; of the groups only the `mostGroups` largest. */
  report(mostGroups: number): TriageReport {
    const listed = (counters: ReadonlyMap<string, Counter>): { name: string; letters: number }[] =>
      mostFirst(
        [...counters].filter(([, counter]) => counter.letters > 0).map(([name, { letters }]) => ({ name, letters })),
        (row) => row.name,
      )
    const groups = mostFirst(this.#groups.values(), (group) => group.facts.fingerprint)
    return {
      letters: this.#letters,
      from: finite(this.#from),
      to: finite(this.#to),
      trend: this.#timeline.trend(this.#all),
      byCode: listed(this.#codes),
      byField: mostFirst(
        [...this.#fields.values()].map((counter) => ({ ...counter })),
        (row) => `${row.field}\0${row.rule}`,
      ),
      byPipeline: listed(this.#pipelines),
      byStatus: listed(this.#statuses),
      bySource: listed(this.#sources),
      groups: groups.slice(0, mostGroups).map((group) => this.#groupTally(group)),
      groupCount: groups.length,
      ungrouped: this.#ungrouped,
      unread: this.#unread,
      unreadSamples: this.#unreadSamples,
    }
  }

  #groupTally(group: Group): GroupTally {
    return {
      ...group.facts,
      letters: group.letters,
      firstSeen: finite(group.firstSeen),
      lastSeen: finite(group.lastSeen),
      trend: this.#timeline.trend(group.slices),
      samples: group.samples.map((sample) => describeLetter(sample.letter(), this.#options.masking, sample.place)),
    }
  }

  /** Finds where a letter counts by the bytes of what its group depends on. */
  #causeOf(scan: ObjectScan): Cause {
    const causes = this.#causes
    causes.begin()
    causes.takeNumber(scan.runNumber)
    for (const key of CAUSE_KEYS) if (!scan.inRun(key)) causes.take(scan, scan.from(key), scan.to(key))
    // Without them, the message is what tells causes apart.
    if (scan.from(LETTER.fingerprint) < 0 || scan.from(LETTER.error_code) < 0 || scan.from(LETTER.path) < 0)
      for (const key of MESSAGE_KEYS) causes.take(scan, scan.from(key), scan.to(key))
    const known = causes.find()
    if (known !== undefined) return known
    const made = this.#makeCause(this.#reader.facts(scan))
    causes.put(made)
    return made
  }

  #makeCause(facts: LetterFacts): Cause {
    const [first = { field: "", rule: "" }] = facts.faults
    return {
      code: counter(this.#codes, facts.code),
      pipeline: counter(this.#pipelines, facts.pipeline),
      field: this.#fieldCounter(first),
      group: this.#group(facts, first),
    }
  }

  #group(facts: LetterFacts, { field, rule }: FieldAndRule): Group | undefined {
    const known = this.#groups.get(facts.group)
    if (known !== undefined || this.#groups.size >= MOST_GROUPS) return known
    const { group: fingerprint, pipeline, step, code } = facts
    const made: Group = {
      facts: { fingerprint, pipeline, step, code, field, rule },
      letters: 0,
      firstSeen: Infinity,
      lastSeen: -Infinity,
      slices: this.#timeline.slices(),
      samples: [],
    }
    this.#groups.set(fingerprint, made)
    return made
  }

  #fieldCounter({ field, rule }: FieldAndRule): FieldCounter {
    const full = this.#fields.size >= MOST_NAMES
    const key = `${field}\0${rule}`
    const known = this.#fields.get(key) ?? (full ? this.#fields.get(OTHERS) : undefined)
    if (known !== undefined) return known
    const made = full ? { field: OTHERS, rule: "", letters: 0 } : { field, rule, letters: 0 }
    this.#fields.set(full ? OTHERS : key, made)
    return made
  }

  /** A letter counts once for each field and rule that its faults name. */
  #countFields(scan: ObjectScan, cause: Cause): void {
    if (scan.elements(LETTER.faults) < 2) {
      cause.field.letters++
      return
    }
    const counters: FieldCounter[] = []
    this.#reader.eachFault(scan, (fault) => {
      const found = this.#counterOfFault(fault)
      if (!counters.includes(found)) counters.push(found)
    })
    if (counters.length === 0) cause.field.letters++
    for (const each of counters) each.letters++
  }

  #counterOfFault(fault: ObjectScan): FieldCounter {
    const table = this.#faultNames
    table.begin()
    table.take(fault, fault.from(FAULT.path), fault.to(FAULT.path))
    table.take(fault, fault.from(FAULT.rule), fault.to(FAULT.rule))
    const known = table.find()
    if (known !== undefined) return known
    const made = this.#fieldCounter(fieldAndRule(fault))
    table.put(made)
    return made
  }

  #named(
    table: ByteTable<Counter>,
    names: Map<string, Counter>,
    scan: ObjectScan,
    key: number,
    otherwise: string,
  ): Counter {
    table.begin()
    table.take(scan, scan.from(key), scan.to(key))
    const known = table.find()
    if (known !== undefined) return known
    const made = counter(names, scan.text(key) ?? otherwise)
    table.put(made)
    return made
  }

  #countTime(scan: ObjectScan, group: Group | undefined): void {
    const time = this.#reader.time(scan)
    if (time === undefined) return
    const last = this.#reader.lastSeen(scan) ?? time
    this.#from = Math.min(this.#from, time)
    this.#to = Math.max(this.#to, time)
    this.#timeline.add(time, this.#all, group?.slices)
    if (group === undefined) return
    group.firstSeen = Math.min(group.firstSeen, time)
    group.lastSeen = Math.max(group.lastSeen, last)
  }

  #addToGroup(scan: ObjectScan, group: Group, place: LetterPlace): void {
    group.letters++
    if (group.samples.length >= this.#options.samples || this.#sampleBytes >= MOST_SAMPLE_BYTES) return
    const sample = SampleText.of(scan, `${place.file}:${place.line}`)
    this.#sampleBytes += sample.bytes
    group.samples.push(sample)
  }
}

const CAUSE_KEYS = [LETTER.error_code, LETTER.fingerprint, LETTER.pipeline_name, LETTER.step, LETTER.rule, LETTER.path]
const MESSAGE_KEYS = [LETTER.error_msg, LETTER.error]

/** Stands for all names beyond those that are kept. */
const OTHERS = "(others)"

function counter(names: Map<string, Counter>, name: string): Counter {
  const kept = names.has(name) || names.size < MOST_NAMES ? name : OTHERS
  const known = names.get(kept)
  if (known !== undefined) return known
  const made = { letters: 0 }
  names.set(kept, made)
  return made
}

const finite = (time: number): number | undefined => (Number.isFinite(time) ? time : undefined)
