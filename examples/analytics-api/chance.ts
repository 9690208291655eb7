/** Numbers in [0, 1). */
export type Sequence = () => number

/** A sequence that is the same for the same numbers: mulberry32, started from a mix of them. */
export function sequence(...numbers: readonly number[]): Sequence {
  let state = 0x9e3779b9
  for (const number of numbers) state = Math.imul(state ^ number ^ (state >>> 15), 0x85ebca6b) ^ (state << 7)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export const chance = (random: Sequence, rate: number): boolean => random() < rate

export const pick = <T>(random: Sequence, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T

/** A whole number for a text: FNV-1a. */
export function numberOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash
}
