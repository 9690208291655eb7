import { randomBytes } from "node:crypto"

/** Chance as a port: a seed replays a failure. */
export interface Random {
  /** A number in [0, 1). */
  next(): number
  /** `bytes` random bytes in lower-case hexadecimal. */
  hex(bytes: number): string
}

export const systemRandom: Random = {
  next: () => Math.random(),
  hex: (bytes) => randomBytes(bytes).toString("hex"),
}

/** A repeatable sequence (mulberry32, by Tommy Ettinger, public domain). Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const hex = (bytes: number): string =>
    Array.from({ length: bytes }, () =>
      Math.floor(next() * 256)
        .toString(16)
        .padStart(2, "0"),
    ).join("")
  return { next, hex }
}
