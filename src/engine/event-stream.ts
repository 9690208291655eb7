import type { SpillwayError } from "../core/errors.ts"
import type { RunEvent, RunEventBody } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"

/** Stamps events and hands them to everyone who listens; what was emitted before the run had a name is handed on when it has one. */
export function eventStream(pipeline: string, ports: Ports, on: ((event: RunEvent) => void) | undefined) {
  const warnings: { code: SpillwayError["code"]; message: string }[] = []
  const early: RunEventBody[] = []
  let send: ((event: RunEventBody) => void) | undefined
  const emit = (event: RunEventBody): void => {
    if (event.type === "warning") warnings.push({ code: event.code, message: event.message })
    if (event.type === "check.judged" && !event.passed && event.severity === "warn")
      warnings.push({ code: "QUALITY_GATE", message: `${event.partition}: ${event.message}` })
    if (send === undefined) early.push(event)
    else send(event)
  }
  return {
    warnings,
    emit,
    begin(runId: string, attempt: number, record: (event: RunEvent) => void) {
      send = (body) => {
        const event = { time: ports.clock.now(), pipeline, runId, attempt, ...body } as RunEvent
        record(event)
        on?.(event)
      }
      for (const event of early.splice(0)) send(event)
    },
  }
}
