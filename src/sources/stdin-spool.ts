import { createHash } from "node:crypto"
import { join } from "node:path"
import { addAbortSignal, type Readable } from "node:stream"
import type { SourceContext } from "../core/contracts.ts"
import { systemCode } from "../core/errors.ts"

const KEY_PREFIX = "stdin/"
const KEEP_MS = 7 * 24 * 60 * 60 * 1000

export const spoolFolder = (directory: string): string => join(directory, ".spillway", "spool")

/** The file that holds the input a partition key names, or undefined for other keys. */
export function spooledPath(directory: string, key: string): string | undefined {
  return key.startsWith(KEY_PREFIX) ? join(spoolFolder(directory), key.slice(KEY_PREFIX.length)) : undefined
}

/**
 * Copies `input` to a file named by its content, so that it can be read again from any place, and the same input twice is
 * known to be the same. Gives the key. Removes what was spooled more than 7 days ago.
 */
export async function spool(input: Readable, context: SourceContext): Promise<string> {
  const { files, random } = context.ports
  const folder = spoolFolder(context.directory)
  await files.makeDirectory(folder)
  await removeOld(folder, context)
  const temporary = join(folder, `${random.hex(8)}.tmp`)
  const hash = createHash("sha256")
  const handle = await files.create(temporary)
  try {
    for await (const chunk of addAbortSignal(context.signal, input)) {
      const bytes = typeof chunk === "string" ? Buffer.from(chunk) : (chunk as Uint8Array)
      hash.update(bytes)
      await handle.writeFile(bytes)
    }
    await handle.sync()
    await handle.close()
    const name = hash.digest("hex").slice(0, 16)
    await files.rename(temporary, join(folder, name))
    return KEY_PREFIX + name
  } catch (error) {
    await handle.close()
    await files.remove(temporary)
    context.signal.throwIfAborted()
    throw error
  }
}

async function removeOld(folder: string, context: SourceContext): Promise<void> {
  const { files, clock } = context.ports
  const oldest = BigInt(Math.floor(clock.now()) - KEEP_MS) * 1_000_000n
  for (const { name } of await files.list(folder)) {
    const path = join(folder, name)
    try {
      if (BigInt((await files.stat(path)).modified) < oldest) await files.remove(path)
    } catch (error) {
      // Another process may have removed it first.
      if (systemCode(error) !== "ENOENT") throw error
    }
  }
}
