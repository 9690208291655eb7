import { expect, describe, it } from "vitest"
import type { Source, SourceContext, SourcePartition } from "../../src/core/contracts.ts"
import { DecodeFault, type Batch, type Position } from "../../src/core/records.ts"

/** What a source brings to be tested with. */
export interface SourceUnderTest {
  readonly source: Source
  /** A fresh context with this signal. */
  context(signal: AbortSignal): SourceContext
  /** How many files, connections or the like the source holds open now. */
  open(): number
}

/** Makes a source with at least two partitions, of which at least one gives several batches. */
export type MakeSource = () => Promise<SourceUnderTest>

interface Entry {
  readonly ordinal: number
  readonly raw: string
  readonly value: unknown
}

/** Of the event loop: enough for a source to read on. Fewer would only notice less. */
const TURNS = 20

/** What every source must do. `resumable` sources are resumed at every batch. */
export function sourceContract(name: string, make: MakeSource): void {
  describe(`${name} keeps the contract of a source:`, () => {
    const none = new Map<never, never>()
    const unaborted = (): AbortSignal => new AbortController().signal

    it("lists the same partitions in the same order", async () => {
      const { source, context } = await make()
      const first = await source.list(context(unaborted()), none)
      const second = await source.list(context(unaborted()), none)
      expect(first.length).toBeGreaterThan(1)
      const identity = (partition: SourcePartition): string => `${partition.key} ${partition.version}`
      expect(second.map(identity)).toEqual(first.map(identity))
      expect(new Set(first.map((partition) => partition.key)).size).toBe(first.length)
    })

    it("recognises what it has seen by the stamps it gave, kept as JSON", async () => {
      const { source, context } = await make()
      const first = await source.list(context(unaborted()), none)
      const kept = JSON.parse(JSON.stringify(first)) as SourcePartition[]
      const known = new Map(kept.map((partition) => [partition.key, partition]))
      const again = await source.list(context(unaborted()), known)
      expect(again.map(({ key, version }) => ({ key, version }))).toEqual(
        first.map(({ key, version }) => ({ key, version })),
      )
    })

    it("gives strictly increasing ordinals, and lets go of everything at the end", async () => {
      const { source, context, open } = await make()
      for (const partition of await source.list(context(unaborted()), none)) {
        const { entries } = await readAll(source, partition, undefined, context(unaborted()))
        entries.reduce((before, { ordinal }) => {
          expect(ordinal).toBeGreaterThan(before)
          return ordinal
        }, 0)
      }
      expect(open()).toBe(0)
    })

    it("resumes at each position with exactly the rest", async () => {
      const { source, context } = await make()
      let resumed = 0
      for (const partition of await source.list(context(unaborted()), none)) {
        const whole = await readAll(source, partition, undefined, context(unaborted()))
        for (const { position, entries } of whole.batches) {
          const kept = JSON.parse(JSON.stringify(position)) as Position
          const rest = await readAll(source, partition, kept, context(unaborted()))
          expect(rest.entries).toEqual(whole.entries.slice(entries))
          expect(rest.columns).toEqual(whole.columns)
          if (rest.entries.length > 0) resumed++
        }
      }
      expect(source.resumable ? resumed : 1).toBeGreaterThan(0)
    })

    it("lets go of everything when the reader stops early", async () => {
      const { source, context, open } = await make()
      for (const partition of await source.list(context(unaborted()), none)) {
        for await (const _batch of source.read(partition, undefined, context(unaborted()))) break
        expect(open()).toBe(0)
      }
    })

    it("keeps a batch as it is while the next one is prepared, and lets go of what was prepared for nobody", async () => {
      const { source, context, open } = await make()
      for (const partition of await source.list(context(unaborted()), none)) {
        const whole = await readAll(source, partition, undefined, context(unaborted()))
        const reader = source.read(partition, undefined, context(unaborted()))
        const entries: Entry[] = []
        for await (const batch of reader) {
          const before = entriesOf(batch)
          reader.prepare?.()
          reader.prepare?.()
          for (let turn = 0; turn < TURNS; turn++) await new Promise(setImmediate)
          expect(entriesOf(batch)).toEqual(before)
          entries.push(...before)
        }
        expect(entries).toEqual(whole.entries)
        const left = source.read(partition, undefined, context(unaborted()))
        for await (const _batch of left) {
          left.prepare?.()
          break
        }
        expect(open()).toBe(0)
      }
    })

    it("stops with the signal's reason, before and in the middle of reading", async () => {
      const { source, context, open } = await make()
      const partitions = await source.list(context(unaborted()), none)
      const reason = new Error("stopped by the test")
      const aborted = AbortSignal.abort(reason)
      for (const partition of partitions) {
        await expect(readAll(source, partition, undefined, context(aborted))).rejects.toBe(reason)
        const { batches } = await readAll(source, partition, undefined, context(unaborted()))
        const controller = new AbortController()
        const reading = (async () => {
          for await (const _batch of source.read(partition, undefined, context(controller.signal)))
            controller.abort(reason)
        })()
        if (batches.length > 0) await expect(reading).rejects.toBe(reason)
        else await reading
      }
      expect(open()).toBe(0)
    })

    it("says what it reads, in JSON", async () => {
      const { source } = await make()
      expect(JSON.parse(JSON.stringify(source.description))).toEqual(source.description)
    })
  })
}

interface Whole {
  readonly entries: Entry[]
  readonly batches: { readonly position: Position; readonly entries: number }[]
  readonly columns: readonly string[] | undefined
}

async function readAll(
  source: Source,
  partition: SourcePartition,
  from: Position | undefined,
  context: SourceContext,
): Promise<Whole> {
  const reader = source.read(partition, from, context)
  const entries: Entry[] = []
  const batches: Whole["batches"] = []
  for await (const batch of reader) {
    entries.push(...entriesOf(batch))
    batches.push({ position: batch.position, entries: entries.length })
  }
  return { entries, batches, columns: reader.columns }
}

const entriesOf = (batch: Batch): Entry[] => Array.from({ length: batch.length }, (_, i) => entryOf(batch, i))

function entryOf(batch: Batch, i: number): Entry {
  const record = batch.record(i)
  const value = record instanceof DecodeFault ? record.fault : record
  return { ordinal: batch.ordinal(i), raw: Buffer.from(batch.raw(i)).toString("latin1"), value }
}
