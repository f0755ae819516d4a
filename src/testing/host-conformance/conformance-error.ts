import type { ThreadLaw } from "../thread-conformance/thread-laws.ts"
import type { ConformanceLaw } from "./conformance-laws.ts"

/** One way in which a host broke a law. */
export interface ConformanceFault {
  readonly law: ConformanceLaw | ThreadLaw
  /** Which turn or thread ran, and where it was interrupted. */
  readonly place: string
  /** What happened, and what was expected. */
  readonly message: string
}

const SHOWN_FAULTS = 5

/** A check of {@link hostConformance} or {@link threadConformance} that failed. */
export class ConformanceError extends Error {
  /** The name of the check. */
  readonly check: string
  readonly faults: readonly ConformanceFault[]

  constructor(check: string, faults: readonly ConformanceFault[]) {
    const shown = faults.slice(0, SHOWN_FAULTS).map(({ place, message }) => `- ${place}:\n  ${message.replaceAll("\n", "\n  ")}`)
    const more = faults.length - shown.length
    super(`Broken: ${check}.\n${shown.join("\n")}${more > 0 ? `\n(and ${more} more)` : ""}`)
    this.name = "ConformanceError"
    this.check = check
    this.faults = faults
  }
}
