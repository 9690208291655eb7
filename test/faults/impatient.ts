import { seededRandom } from "../../src/core/random.ts"
import { systemPorts, type Ports } from "../../src/testing/index.ts"

/** Chance with a seed for the waits between tries that are a tenth of the usual. */
export function impatientPorts(seed: number): Ports {
  const { next } = seededRandom(seed)
  return { ...systemPorts, random: { next: () => next() * 0.1, hex: systemPorts.random.hex } }
}
