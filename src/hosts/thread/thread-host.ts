import { goalDeliveries, mergeDeliveries } from "../../drivers/goal/deliveries.ts"
import { readGoal } from "../../drivers/goal/history.ts"
import { changeGoal, goalChanges } from "../../drivers/goal/thread.ts"
import { NO_USAGE, tokensOf } from "../../machine/limits.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { estimateTokens } from "../../machine/usage-estimate.ts"
import type { Checkpoint } from "../../wire/effect.ts"
import type { LlmRequest, LlmResponse, TokenUsage } from "../../wire/llm.ts"
import type { CheckpointDelivery } from "../../wire/message.ts"
import { type Host, LlmCallError, wrapHost } from "../host.ts"
import { llmFailureOf, partialOf } from "../run/failures.ts"
import { commandInput, type ThreadOptions, type ThreadState } from "./thread-state.ts"
import { countedUsage, withTokensLeft } from "./tokens-left.ts"
import { assignInputs } from "./turn-inputs.ts"

/** How a turn is attended. */
interface Attended {
  /** Runs before each delivery. */
  attend(): Promise<void> | void
  /** An engine records the turn: on a replay, it returns the result of a model call without calling the host. */
  readonly isRecorded: boolean
}

/**
 * Wraps a host for one turn of a thread: reports changes of the goal after each `progress`, and delivers user messages and goal
 * commands at checkpoints, together with the host's own deliveries.
 */
export function threadHost(thread: ThreadState, machine: TurnMachine, host: Host, { attend, isRecorded }: Attended): Host {
  const { threadId, options, hasGoals } = thread
  let goal = hasGoals ? readGoal(machine.turn.record.events, threadId).state.goal : null
  return wrapHost(host, {
    llmCall: async (next, effect, context) => {
      if (!isRecorded) thread.calling = { request: effect.request, counted: countedUsage(machine, threadId) }
      try {
        return await next(effect, context)
      } catch (error) {
        if (!context.signal.aborted || context.isFatal?.(error) === true) throw error
        throw withUsage(error, effect.request, options)
      } finally {
        if (!isRecorded && !context.signal.aborted) thread.calling = undefined
      }
    },
    save: async (next, saved) => {
      await next(saved)
      if (!isRecorded || saved.done) return
      const { outstanding } = saved
      thread.calling = outstanding?.type === "llm_call" ? { request: outstanding.request, counted: countedUsage(saved, threadId) } : undefined
    },
    // Children that are continued have their leases.
    tools: { call: (next, call, context) => next(call, withTokensLeft(context, thread, machine, thread.log.turn?.turnId ?? "")) },
    progress: async (next, effect) => {
      await next(effect)
      if (!hasGoals) return
      const outputs = goalChanges(effect.eventDelta, threadId, goal)
      goal = readGoal(machine.turn.record.events, threadId).state.goal
      await thread.report(outputs)
    },
    checkpoint: async (next, effect, context) => {
      await attend()
      const own = (await next(effect, context)) ?? {}
      // What would be delivered now does not count.
      if (context.signal.aborted) return own
      thread.deliveringEffect = effect.id
      return deliver(thread, machine, effect, own)
    },
  })
}

/** The estimated usage of an aborted model call that reported none. Its prompt is paid for. */
function abortedUsage(request: LlmRequest, { lostUsage }: Pick<ThreadOptions, "lostUsage">): TokenUsage {
  return { ...NO_USAGE, inputTokens: estimateTokens(request), estimated: true, ...lostUsage?.(request) }
}

/** The estimated usage of a model call that was aborted and did not end in time, so that the turn stored nothing of it; `undefined`: there is none. */
export function unreportedUsage({ options, threadId }: ThreadState, machine: TurnMachine, calling: ThreadState["calling"]): TokenUsage | undefined {
  if (calling === undefined) return undefined
  const counted = countedUsage(machine, threadId)
  const { inputTokens, cachedInputTokens, outputTokens } = calling.counted
  const isCounted = counted.inputTokens !== inputTokens || counted.cachedInputTokens !== cachedInputTokens || counted.outputTokens !== outputTokens
  return isCounted ? undefined : abortedUsage(calling.request, options)
}

/** The error of an aborted call, with an estimate if it reports no usage. The turn stores it with its end, so that no crash loses it. */
function withUsage(error: unknown, request: LlmRequest, options: ThreadOptions): unknown {
  const { usage, retriedUsage } = (partialOf(error) ?? {}) as Partial<LlmResponse>
  if (retriedUsage !== undefined || (usage !== undefined && tokensOf(usage) + usage.cachedInputTokens > 0)) return error
  const partial = error instanceof LlmCallError ? error.partial : undefined
  const failure = { ...llmFailureOf(error), usage: abortedUsage(request, options) }
  return new LlmCallError(failure, { cause: error, ...(partial !== undefined && { partial }) })
}

async function deliver(thread: ThreadState, machine: TurnMachine, { checkpoint }: Checkpoint, own: CheckpointDelivery): Promise<CheckpointDelivery> {
  const userMessages = (await assignInputs(thread, machine, checkpoint)).map(({ message }) => message)
  const inputs = userMessages.length > 0 ? { userMessages } : {}
  if (!thread.hasGoals) return mergeDeliveries(inputs, own)
  const { threadId, log, options, pendingCommands: commands } = thread
  const { policy = {}, continueInTurn = false } = options
  const isNext = log.queue.waitingFor("next_turn").length > 0
  const queuedInput = isNext || userMessages.length > 0 || Object.values(own).some((list) => Array.isArray(list) && list.length > 0)
  // A command that was valid when it was given may be refused by now.
  if (commands.length > 0)
    await thread.report(changeGoal(thread.goalThread, ...commands.map(commandInput)).outputs.filter(({ type }) => type === "refused"))
  const goals = goalDeliveries(machine.turn.record.events, checkpoint, thread.now(), { threadId, policy, commands, continueInTurn, queuedInput })
  const { state } = readGoal(machine.turn.record.events, threadId)
  const events = thread.children?.usageEvents(state.goal, state.memory) ?? []
  return mergeDeliveries(inputs, events.length > 0 ? { events } : {}, own, goals)
}
