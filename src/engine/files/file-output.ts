import type { SourcePartition } from "../../core/contracts.ts"
import { SpillwayError, systemCode } from "../../core/errors.ts"
import type { Ports } from "../../core/ports.ts"
import {
  lockOutputFiles,
  noteOutputFiles,
  outputFiles,
  type FilesByPartition,
  type OutputFileEntry,
} from "../../ledger/output-files.ts"
import { emptyCounts, type PublishResult } from "../../postgres/publish-counts.ts"
import type { Session } from "../../postgres/session.ts"
import type { Target } from "../../postgres/target.ts"
import { fileNamer, isTemporary, keyTag, keyTagOf } from "./file-names.ts"
import { FileParts } from "./file-parts.ts"
import { filePlace, type FilePlace } from "./file-place.ts"
import type { FileSink } from "./file-sink.ts"

export interface OutputContext {
  readonly pipeline: string
  readonly definitionVersion: string
  /** Where relative folders start. */
  readonly directory: string
  readonly ports: Ports
  readonly target: Target
}

/** Files that a transaction has written under temporary names. */
export interface WrittenFiles {
  readonly result: PublishResult
  /** Gives the files their names, as the last thing before the commit. */
  reveal(): Promise<void>
  /** After the commit: removes the files that these replace. */
  settle(): Promise<void>
}

interface WrittenPartition {
  readonly files: readonly OutputFileEntry[]
  /** Records of the files that these replace. */
  readonly recordsBefore: number
  /** Names of the partition that are no longer its files. */
  readonly outdated: readonly string[]
  /** Every file is there already, byte for byte. */
  readonly same: boolean
}

/**
 * Publishes staged partitions as files in a folder, of this machine or of a storage. Which files a partition consists of is noted in its position, in the
 * publishing transaction: that is what counts, and every other file with a name of this pipeline is a leftover.
 *
 * temporary files ─▶ on the disk ─▶ renamed ─▶ COMMIT ─▶ what they replace is removed
 *
 * Killed before the renaming, there are temporary files; between it and the commit, files of a version that was not published;
 * after the commit, files of the version before. `tidy` removes them all, by their names.
 */
export class FileOutput {
  readonly #sink: FileSink

  constructor(sink: FileSink) {
    this.#sink = sink
  }

  /** Writes the staged rows of partitions, and notes their files. `published`: by the ledger, before. Staging is gone afterwards. */
  async write(
    session: Session,
    context: OutputContext,
    staging: string,
    partitions: readonly SourcePartition[],
    published: FilesByPartition,
  ): Promise<WrittenFiles> {
    const place = this.#place(context)
    return onDisk(place, async () => {
      await place.prepare()
      const there = await place.names()
      const written = new Map<string, WrittenPartition>()
      for (const partition of partitions)
        written.set(
          partition.key,
          await this.#writePartition(session, { ...context, place }, staging, partition, published, there),
        )
      await session.query(`DROP TABLE ${staging}`)
      await noteOutputFiles(session, context.pipeline, new Map([...written].map(([key, { files }]) => [key, files])))
      return {
        result: { counts: countsOf(written), touches: [], adopted: false },
        reveal: () => onDisk(place, () => reveal(place, written)),
        settle: () => onDisk(place, () => settle(place, written)),
      }
    })
  }

  async #writePartition(
    session: Session,
    context: OutputContext & { readonly place: FilePlace },
    staging: string,
    partition: SourcePartition,
    published: FilesByPartition,
    there: readonly string[],
  ): Promise<WrittenPartition> {
    const { pipeline, definitionVersion, ports, target, place } = context
    const nameOf = fileNamer(this.#sink, pipeline, partition, definitionVersion)
    const parts = new FileParts(this.#sink, target.columns, ports, (part) => place.temporary(nameOf(part)))
    const records = await parts.write(session, staging, partition.key)
    const files = records.map((count, i) => ({ name: nameOf(i + 1), records: count }))
    const before = published.get(partition.key) ?? []
    let same = JSON.stringify(files) === JSON.stringify(before)
    for (const { name } of files) same &&= await place.isSame(name)
    const kept = new Set(
      [...files, ...[...published].flatMap(([key, of]) => (key === partition.key ? [] : of))].map(nameOfEntry),
    )
    const outdated = there.filter((name) => keyTagOf(name, pipeline) === keyTag(partition.key) && !kept.has(name))
    return { files, recordsBefore: total(before), outdated: outdated.filter((name) => !isTemporary(name)), same }
  }

  /**
   * Removes what interrupted publications have left of this pipeline, as far as nobody is publishing it now. Gives the names of
   * published files that are gone.
   */
  async tidy(session: Session, context: Omit<OutputContext, "target">): Promise<string[]> {
    const { pipeline } = context
    const place = this.#place(context)
    return onDisk(place, async () => {
      const there = await place.names()
      const known = await outputFiles(session, pipeline)
      const published = new Set([...known.values()].flat().map(nameOfEntry))
      const suspects = there.filter((name) => !published.has(name) && keyTagOf(name, pipeline) !== undefined)
      if (suspects.length > 0)
        await session.transaction(async () => {
          const tags = new Set(suspects.map((name) => keyTagOf(name, pipeline)))
          const keys = [...known.keys()].filter((key) => tags.has(keyTag(key)))
          for (const { key, files, tried } of await lockOutputFiles(session, pipeline, keys)) {
            const kept = new Set(files.map(nameOfEntry))
            for (const name of suspects)
              if (keyTagOf(name, pipeline) === keyTag(key) && !kept.has(name) && (tried || isTemporary(name)))
                await place.remove(name)
          }
        })
      const left = new Set(there)
      return [...published].filter((name) => !left.has(name)).map((name) => `${this.#sink.folder}/${name}`)
    })
  }

  #place({ directory, ports }: Pick<OutputContext, "directory" | "ports">): FilePlace {
    return filePlace(this.#sink, directory, ports)
  }
}

const nameOfEntry = ({ name }: OutputFileEntry): string => name

const total = (files: readonly OutputFileEntry[]): number => files.reduce((sum, { records }) => sum + records, 0)

function countsOf(written: ReadonlyMap<string, WrittenPartition>): PublishResult["counts"] {
  const counts = emptyCounts([...written.keys()])
  for (const [key, { files, recordsBefore, same }] of written) {
    const of = counts.get(key)
    if (of === undefined) continue
    if (same) of.unchanged = total(files)
    else {
      of.inserted = total(files)
      of.deleted = recordsBefore
    }
  }
  return counts
}

const reveal = (place: FilePlace, written: ReadonlyMap<string, WrittenPartition>): Promise<void> =>
  place.reveal([...written.values()].flatMap(({ files, same }) => files.map(({ name }) => ({ name, same }))))

async function settle(place: FilePlace, written: ReadonlyMap<string, WrittenPartition>): Promise<void> {
  for (const { outdated } of written.values()) for (const name of outdated) await place.remove(name)
}

async function onDisk<T>({ shown }: FilePlace, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof SpillwayError || systemCode(error) === undefined) throw error
    throw new SpillwayError("RESOURCE", `the folder cannot be written to (${systemCode(error) ?? ""})`, {
      where: shown,
      cause: error,
      hint: "check that it may be written to and has room, then run again: it goes on where it stopped",
    })
  }
}
