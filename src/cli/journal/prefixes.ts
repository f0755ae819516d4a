import { type PrefixBreak, type PrefixReport, prefixBreaks } from "../../replay/prefix.ts"
import { recordedConfig } from "../run/run-config.ts"
import { cutText, plural } from "../terminal/format.ts"
import type { GivenJournal } from "./open.ts"

/** Compares each request of a journal with the one before it. A replay computes the requests if this program wrote the journal. */
export function prefixesOf({ journal, meta }: GivenJournal): PrefixReport {
  if (typeof meta !== "object") return prefixBreaks(journal)
  try {
    return prefixBreaks(journal, recordedConfig(meta))
  } catch {
    return prefixBreaks(journal)
  }
}

/** Sums up a report in a sentence; `undefined` if no requests were compared. */
export function prefixText({ compared, breaks, complete }: PrefixReport): string | undefined {
  if (compared === 0) return undefined
  const resets = breaks.filter(({ marked }) => marked === true).length
  const announced = resets === 0 ? "" : `, ${resets} changed as announced`
  const unknown = complete ? "" : "; the rest is not known"
  return `${compared - breaks.length} of ${plural(compared, "follow-up request")} begin with the request before${announced}${unknown}`
}

/** `prefix broken: the tools differ at /tools/1`. A reset is one that the history announces, as after a change of the tools. */
export function breakText({ at, reason, marked }: PrefixBreak): string {
  return `${marked === true ? "prefix reset" : "prefix broken"}: ${DIFFERING[reason]} at ${cutText(at, MOST_SHOWN)}`
}

const DIFFERING = { system: "the system prompt differs", tools: "the tools differ", message: "an earlier message differs" } as const
const MOST_SHOWN = 120

/** The JSON form of a break, without what its record says. */
export function plainBreak({ at, reason, marked }: PrefixBreak): object {
  return { at, reason, marked }
}
