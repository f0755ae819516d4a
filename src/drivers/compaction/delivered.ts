import type { Json } from "../../json.ts"
import type { DriverContext } from "../../machine/driver.ts"
import { viewOf } from "../../projectors/view.ts"
import { isBlank } from "../../text.ts"
import type { DriverAction } from "../../wire/action.ts"
import type { CompactionDelivered, CompactionProblem } from "../../wire/compaction.ts"
import type { CheckpointDelivery } from "../../wire/message.ts"
import { isSafePlace } from "./cut.ts"
import { isGain, planOf, recordOf, sizeOf } from "./plan.ts"
import { failedRecord, protocol, recordActions } from "./records.ts"
import type { CompactionSettings } from "./settings.ts"
import { readCompactions, typeOf } from "./state.ts"

/**
 * Returns the records of the summaries in a delivery. One is used if the transcript still begins with what it was made from, and nothing
 * was compacted since; otherwise a record says why not. Only the first of a delivery that can be used is.
 */
export function deliveredActions(settings: CompactionSettings, context: DriverContext, { events = [] }: CheckpointDelivery): readonly DriverAction[] {
  let isUsed = false
  return events.flatMap((event) => {
    if (typeOf(event) !== "compaction_delivered") return []
    const id = context.newMessageId("compaction")
    const fail = (problem: CompactionProblem, message: string): readonly DriverAction[] =>
      recordActions([failedRecord(context, { id, reason: "delivered", problem, message })])
    const delivered = isDelivered(event) && !isUsed ? event : undefined
    const tailStart = delivered && tailStartAfter(context, delivered)
    if (delivered === undefined || tailStart === undefined)
      return fail("base_mismatch", "The delivered summary is not of the transcript as it is now, or not up to a message where it can be cut.")
    const size = sizeOf(context, readCompactions(context.events))
    const plan = planOf(settings, context, size, tailStart)
    const { summary, usage } = delivered
    const record = recordOf(settings, context, plan, { id, reason: "delivered", summary, usage })
    if (!isGain(settings, "delivered", record.tokensBefore, record.tokensAfter))
      return fail("too_little_gain", "The delivered summary would save too little.")
    isUsed = true
    return recordActions([protocol(record)])
  })
}

/** Where the tail begins after a delivered summary. `undefined`: it does not apply. */
function tailStartAfter({ messages, events }: DriverContext, { base, through }: CompactionDelivered): number | undefined {
  if (messages.at(base.count - 1)?.id !== base.messageId) return undefined
  const view = viewOf(messages, events)
  const from = view?.tailStart ?? 0
  // A summary made before the last compaction does not know what that one left out.
  if (view !== undefined && base.count < view.baseLength) return undefined
  for (let index = base.count - 1; index >= from; index -= 1)
    if (messages.at(index)?.id === through) return isSafePlace(messages, from, index + 1) ? index + 1 : undefined
  return undefined
}

/** A host may deliver anything. */
function isDelivered(event: Json): event is CompactionDelivered {
  const { base, through, summary } = event as { readonly [Key in keyof CompactionDelivered]?: unknown }
  if (typeof through !== "string" || typeof summary !== "string" || isBlank(summary)) return false
  const { messageId, count } = (base ?? {}) as { readonly messageId?: unknown; readonly count?: unknown }
  return typeof messageId === "string" && Number.isSafeInteger(count) && (count as number) >= 1
}
