import type { Json } from "../../json.ts"
import { withChanges } from "../../lazy.ts"
import { checkDriver } from "../../machine/config.ts"
import type { DriverContext, ProtocolDriver, WaitingLlm } from "../../machine/driver.ts"
import { tokensOf } from "../../machine/limits.ts"
import { errorEvent, stopFor } from "../../machine/terminal.ts"
import { withoutDecisions } from "../../machine/transitions.ts"
import { estimateTokens } from "../../machine/usage-estimate.ts"
import { isBlank, trim } from "../../text.ts"
import type { DriverAction, StartLlm } from "../../wire/action.ts"
import type { CompactionNeeded, CompactionProblem, CompactionReason } from "../../wire/compaction.ts"
import type { LlmFailure, LlmRequest, LlmResponse } from "../../wire/llm.ts"
import { wrapDriver } from "../wrap-driver.ts"
import { olderTailStarts } from "./cut.ts"
import { deliveredActions } from "./delivered.ts"
import {
  type CompactionPlan,
  type ContextSize,
  dueReason,
  failuresSinceInput,
  hasRecovered,
  isGain,
  planOf,
  recordOf,
  sizeOf,
  tailOf,
  thresholdOf,
  within,
} from "./plan.ts"
import { summaryPrompt } from "./prompt.ts"
import { failedRecord, protocol, recordActions } from "./records.ts"
import { compactionRequest, shortenedRequest } from "./request.ts"
import { type CompactingDriverOptions, type CompactionSettings, settingsOf } from "./settings.ts"
import { type Compactions, readCompactions } from "./state.ts"

/**
 * Wraps a driver: when the context comes close to the model's window, or did not fit, a model call summarizes it, and later requests show
 * the summary in place of the older messages. The history and the transcript keep everything. Needs `viewProjector` around the projector.
 *
 * A compaction is a model call of its own, within the iteration: the request that was about to be made, with one instruction appended. Its
 * usage counts as any other's. After it the host saves (`after_work`), and the iteration is prepared anew. A failed compaction leaves the
 * context as it is.
 *
 * A request that does not fit is made again after a compaction, once for each input; a second overflow stops the turn as `provider_error`
 * with the code `context_exhausted`.
 * @throws {SchemaError} `invalid_config`: `inner` is not a driver, or an option is unknown or invalid
 */
export function compactingDriver(inner: ProtocolDriver, options: CompactingDriverOptions = {}): ProtocolDriver {
  checkDriver(inner)
  const settings = settingsOf(options)

  /** What a driver inside records of an answer that is not its own, such as usage that no provider reported. */
  const accounted = (context: DriverContext, waiting: WaitingLlm, response: LlmResponse): readonly DriverAction[] => {
    const stored = withoutDecisions(inner.onLlmCutOff?.(context, innerWaiting(waiting), response))
    return stored.flatMap((action): readonly DriverAction[] => {
      if (action.type !== "append_events") return []
      const events = action.events.filter(({ type }) => type === "protocol")
      return events.length === 0 ? [] : [{ ...action, events }]
    })
  }

  return wrapDriver(inner, {
    name: `compacting(${inner.name})`,

    prepareIteration(next, context) {
      const state = readCompactions(context.events)
      const reason = dueReason(settings, context, state, sizeOf(context, state))
      const actions = next(context)
      return reason === undefined ? actions : compact(settings, context, state, reason, actions)
    },

    onLlmComplete(next, context, waiting, response, textStreamed) {
      const call = compactionCall(waiting)
      if (call === undefined) return [...measured(context, response), ...next(context, waiting, response, textStreamed)]
      return [...accounted(context, waiting, response), ...concluded(settings, context, call, response)]
    },

    onLlmCutOff(next, context, waiting, response) {
      const { terminalReason } = response
      const call = compactionCall(waiting)
      if (call === undefined) {
        const actions = next(context, waiting, response)
        // A call that failed is reported to onLlmFailed as well.
        if (terminalReason !== "context_overflow" || waiting.failed === true) return actions
        return [...withoutDecisions(actions), ...overflowed(context, waiting.outstanding.request)]
      }
      const stored = accounted(context, waiting, response)
      if (terminalReason === "cancelled" || waiting.failed === true) return stored
      const problem = terminalReason === "context_overflow" ? "overflow" : "cut_off"
      return [...stored, ...failed(settings, context, call, problem, `The answer ended early: ${terminalReason}.`)]
    },

    onLlmFailed(next, context, waiting, error) {
      const call = compactionCall(waiting)
      if (call === undefined) return isOverflow(error) ? overflowed(context, waiting.outstanding.request) : next(context, waiting, error)
      if (isOverflow(error)) return failed(settings, context, call, "overflow", error.message)
      // Without a compaction the turn cannot continue, so it ends as after any failed call. The need stays recorded.
      if (call.reason === "overflow" || error.kind === "cancelled") return next(context, innerWaiting(waiting), error)
      return failed(settings, context, call, "call_failed", error.message)
    },

    onDelivery(next, context, checkpoint, delivery) {
      return [...deliveredActions(settings, context, delivery), ...next(context, checkpoint, delivery)]
    },
  })
}

/** The state of a compaction call, with the state of the driver inside. */
interface CompactionCall {
  readonly id: string
  readonly reason: Exclude<CompactionReason, "delivered">
  /** Where the tail begins after it. */
  readonly tailStart: number
}

/** The driver state of a compaction call. */
function callState(call: CompactionCall, inner: Json | undefined): Json {
  return { compaction: { ...call }, ...(inner !== undefined && { inner }) }
}

function compactionCall({ driverState }: WaitingLlm): CompactionCall | undefined {
  return (driverState as { readonly compaction?: CompactionCall } | null | undefined)?.compaction
}

function innerWaiting({ driverState, ...waiting }: WaitingLlm): WaitingLlm {
  const { inner } = driverState as { readonly inner?: Json }
  return inner === undefined ? waiting : { ...waiting, driverState: inner }
}

/** Replaces the model call that a driver is about to start with the call of a compaction. Other starts stay as they are. */
function compact(
  settings: CompactionSettings,
  context: DriverContext,
  state: Compactions,
  reason: CompactionCall["reason"],
  actions: readonly DriverAction[],
): readonly DriverAction[] {
  const place = actions.findIndex(({ type }) => type === "start_llm")
  const start = actions[place]
  if (start?.type !== "start_llm") return actions
  const size = sizeOf(context, state)
  const tailBegins = tailOf(settings, context, size, reason)
  const plan = tailBegins === undefined ? undefined : planOf(settings, context, size, tailBegins)
  const id = context.newMessageId("compaction")
  const before = actions.slice(0, place)
  if (plan === undefined || !isGain(settings, reason, plan.tokensBefore, plan.tokensLeft)) {
    const problem = plan === undefined ? "nothing_to_compact" : "too_little_gain"
    const record = recordActions([failedRecord(context, { id, reason, problem, message: PROBLEMS[problem] })])
    return reason === "overflow" ? [...before, ...record, ...exhausted(PROBLEMS[problem])] : [...before, ...record, ...actions.slice(place)]
  }
  const { request, tailStart } = asked(settings, context, state, start.request, { reason, size, plan })
  const call: StartLlm = {
    type: "start_llm",
    request: capped(context, start.request, request),
    purpose: "compaction",
    driverState: callState({ id, reason, tailStart }, start.driverState),
  }
  return [...before, notice("The context window is nearly full: the conversation is being summarized."), call]
}

/**
 * The request of a compaction, and where the tail begins after it. If the whole conversation does not fit, only its older part is
 * summarized, and the tail is longer; if no part fits that leaves a tail of a good size, the request is shortened.
 */
function asked(
  settings: CompactionSettings,
  context: DriverContext,
  state: Compactions,
  given: LlmRequest,
  { reason, size, plan }: { readonly reason: CompactionCall["reason"]; readonly size: ContextSize; readonly plan: CompactionPlan },
): { readonly request: LlmRequest; readonly tailStart: number } {
  const { messages } = context
  const summaryTokens = within(settings.maxSummaryTokens, size.windowTokens)
  const instruction = summaryPrompt(summaryTokens, settings.instructions)
  const overflow = reason === "overflow" ? state : undefined
  const failures = failuresSinceInput(state, messages)
  const refused = failures.filter(({ problem }) => problem === "overflow").length
  const limit = limitOf(size.windowTokens, summaryTokens, overflow, refused)
  const whole = compactionRequest(given, instruction)
  if (whole !== undefined && estimateTokens(whole) <= limit) return { request: whole, tailStart: plan.tailStart }
  const most = (thresholdOf(context, size.windowTokens) ?? size.requestTokens) - summaryTokens
  // A part was tried already, or did not save enough.
  const olderStarts = overflow !== undefined && failures.length > 0 ? [] : olderTailStarts(messages, size.view?.tailStart ?? 0, plan.tailStart)
  for (const tailStart of olderStarts) {
    const older = planOf(settings, context, size, tailStart)
    // Earlier places leave longer tails.
    if (older.tokensLeft > most || !isGain(settings, reason, older.tokensBefore, older.tokensLeft + summaryTokens)) break
    const request = compactionRequest(given, instruction, messages.slice(tailStart))
    if (request !== undefined && estimateTokens(request) <= limit) return { request, tailStart }
  }
  return { request: shortenedRequest(given, instruction, limit), tailStart: plan.tailStart }
}

/** A driver inside may have limited the answer to what a budget leaves. The instruction takes its part of that. */
function capped({ config }: DriverContext, given: LlmRequest, request: LlmRequest): LlmRequest {
  const { maxOutputTokens } = given.generation
  if (maxOutputTokens === undefined || maxOutputTokens === config.generation.maxOutputTokens) return request
  const more = 2 * Math.max(0, estimateTokens(request) - estimateTokens(given))
  return withChanges(request, { generation: { ...given.generation, maxOutputTokens: Math.max(1, maxOutputTokens - more) } })
}

/** The share of a limit that the next attempt may use. */
const SHRINK = 0.6

/** The most that the request of a compaction may have, in tokens. After an overflow it is less with every attempt that did not fit either. */
function limitOf(windowTokens: number | undefined, summaryTokens: number, overflow: Compactions | undefined, refused: number): number {
  const room = windowTokens === undefined ? Number.POSITIVE_INFINITY : windowTokens - summaryTokens
  if (overflow === undefined) return room
  return Math.floor(Math.min(room, (overflow.need?.tokens ?? room) * 0.85) * SHRINK ** refused)
}

/** Records that the last answer's usage reaches the threshold. */
function measured(context: DriverContext, { usage }: LlmResponse): readonly DriverAction[] {
  const { config, events, messages } = context
  const threshold = thresholdOf(context, config.maxContextTokens || undefined)
  const tokens = tokensOf(usage) + usage.cachedInputTokens
  if (threshold === undefined || tokens < threshold || readCompactions(events).need !== undefined) return []
  return recordActions([protocol({ type: "compaction_needed", reason: "threshold", tokens, count: messages.length } satisfies CompactionNeeded)])
}

/** Reads the answer of a compaction. */
function concluded(settings: CompactionSettings, context: DriverContext, call: CompactionCall, response: LlmResponse): readonly DriverAction[] {
  const { id, reason, tailStart } = call
  const { text, parts, usage } = response
  if (parts.some(({ type }) => type === "tool_call")) return failed(settings, context, call, "tool_call", PROBLEMS.tool_call)
  const summary = trim(isBlank(text) ? parts.map((part) => (part.type === "text" ? part.text : "")).join("") : text)
  if (summary === "") return failed(settings, context, call, "empty_answer", PROBLEMS.empty_answer)
  const plan = planOf(settings, context, sizeOf(context, readCompactions(context.events)), tailStart)
  const record = recordOf(settings, context, plan, { id, reason, summary, usage })
  const { tokensBefore, tokensAfter } = record
  if (!isGain(settings, reason, tokensBefore, tokensAfter)) return failed(settings, context, call, "summary_too_long", PROBLEMS.summary_too_long)
  return [
    ...recordActions([protocol(record)]),
    notice(`The conversation was summarized: about ${tokensBefore} tokens became ${tokensAfter}.`),
    ...prepareAnew(),
  ]
}

/** Records a failed compaction. The iteration continues without it; after an overflow it is tried again, with a shorter request. */
function failed(
  settings: CompactionSettings,
  context: DriverContext,
  { id, reason }: CompactionCall,
  problem: CompactionProblem,
  message: string,
): readonly DriverAction[] {
  const record = recordActions([failedRecord(context, { id, reason, problem, message })])
  const failures = failuresSinceInput(readCompactions(context.events), context.messages).length + 1
  if (reason === "overflow" && failures >= settings.maxFailures) return [...record, ...exhausted(message)]
  return [...record, notice(`The conversation could not be summarized: ${message}`), ...prepareAnew()]
}

/** Records that a request did not fit, so that the next one is made after a compaction; ends the turn if that was tried already. */
function overflowed(context: DriverContext, request: LlmRequest): readonly DriverAction[] {
  if (hasRecovered(readCompactions(context.events), context.messages)) return exhausted("The request did not fit after a compaction either.")
  const tokens = estimateTokens(request)
  const needed: CompactionNeeded = { type: "compaction_needed", reason: "overflow", tokens, count: context.messages.length }
  return [...recordActions([protocol(needed)]), ...prepareAnew()]
}

function isOverflow({ kind, terminalReason }: LlmFailure): boolean {
  return kind === "context_overflow" || terminalReason === "context_overflow"
}

/** The host saves, and the iteration is prepared anew: its request is projected from the new view. */
function prepareAnew(): readonly DriverAction[] {
  return [{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }]
}

function exhausted(why: string): readonly DriverAction[] {
  const facts = { kind: "llm_provider", code: "context_exhausted", terminalReason: "context_overflow" } as const
  return stopFor(errorEvent(`The conversation does not fit into the model's context window. ${why}`, facts), "provider_error")
}

function notice(text: string): DriverAction {
  return { type: "emit", event: { type: "message", text, kind: "compaction" } }
}

const PROBLEMS = {
  nothing_to_compact: "There is nothing to summarize.",
  too_little_gain: "A summary would save too little.",
  summary_too_long: "The summary is too long to save enough.",
  tool_call: "The model called a tool instead of writing a summary.",
  empty_answer: "The model wrote no summary.",
} satisfies { readonly [Problem in CompactionProblem]?: string }
