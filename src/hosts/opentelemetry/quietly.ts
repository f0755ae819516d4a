import { diag } from "@opentelemetry/api"
import { messageOf } from "../run/failures.ts"

/** Runs telemetry code. An error goes to OpenTelemetry's own log and never fails the turn. */
export function quietly<Value>(run: () => Value): Value | undefined {
  try {
    return run()
  } catch (error) {
    try {
      diag.warn("turn-machine: telemetry failed", messageOf(error))
    } catch {
      // The log failed as well.
    }
    return undefined
  }
}
