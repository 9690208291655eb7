import { systemClock, type Clock } from "../core/clock.ts"
import { SpillwayError } from "../core/errors.ts"
import { systemRandom, type Random } from "../core/random.ts"

/** What a policy hands to the function it runs. */
export interface Call {
  /** Aborted when the caller, a time-out or a deadline gives the call up. Undefined when nothing can. */
  readonly signal: AbortSignal | undefined
  /** The try, from 1, as counted by the nearest `retry` around it. */
  readonly attempt: number
}

export type Body<T> = (call: Call) => T | PromiseLike<T>

/** How a call is made. Policies compose; `execute` may be called by many at once. */
export interface Policy {
  /** Runs `body`. `signal` gives the call up: it then ends with `CANCELLED`, or with the signal's reason where that is a SpillwayError. */
  execute<T>(body: Body<T>, call?: Partial<Call>): Promise<T>
}

/** Time and chance, as far as policies need them. */
export interface PolicyPorts {
  readonly clock: Clock
  readonly random: Random
}

export const systemPolicyPorts: PolicyPorts = { clock: systemClock, random: systemRandom }

const PLAIN_CALL: Call = { signal: undefined, attempt: 1 }

/** What the caller left out, filled in. */
export function fullCall(call: Partial<Call> | undefined): Call {
  return call === undefined ? PLAIN_CALL : { signal: call.signal, attempt: call.attempt ?? 1 }
}

/**
 * Several policies as one, the outermost first: `compose(timeout("1 minute"), retry(), circuitBreaker({ … }), timeout("5s"))` gives every
 * try 5 seconds and all of them together a minute.
 */
export function compose(...policies: readonly Policy[]): Policy {
  return {
    execute: (body, call) => executeFrom(policies, 0, body, fullCall(call)),
  }
}

async function executeFrom<T>(policies: readonly Policy[], at: number, body: Body<T>, call: Call): Promise<T> {
  const policy = policies[at]
  if (policy === undefined) return body(call)
  return policy.execute((inner) => executeFrom(policies, at + 1, body, inner), call)
}

/** Why an aborted signal ended a call: its reason where that is a SpillwayError, otherwise `CANCELLED` with the reason as cause. */
export function cancellation(signal: AbortSignal): SpillwayError {
  const reason: unknown = signal.reason
  if (reason instanceof SpillwayError) return reason
  return new SpillwayError("CANCELLED", "the call was given up by its caller", {
    cause: reason,
    hint: "call again when it is wanted after all",
  })
}
