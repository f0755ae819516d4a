import { goalDeliveries, mergeDeliveries } from "../../drivers/goal/deliveries.ts"
import { readGoal } from "../../drivers/goal/history.ts"
import { changeGoal, goalChanges } from "../../drivers/goal/thread.ts"
import { addUsage } from "../../machine/limits.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Checkpoint } from "../../wire/effect.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { CheckpointDelivery } from "../../wire/message.ts"
import { type Host, wrapHost } from "../host.ts"
import { undelivered } from "./log.ts"
import { commandInput, type ThreadState } from "./thread-state.ts"

/**
 * Wraps a host for one turn of a thread: reports changes of the goal after each `progress`, and delivers user messages and goal
 * commands at checkpoints, together with the host's own deliveries. `attend` runs before each delivery.
 */
export function threadHost(thread: ThreadState, machine: TurnMachine, host: Host, attend: () => Promise<void> | void): Host {
  const { threadId } = thread
  let goal = readGoal(machine.history, threadId).state.goal
  return wrapHost(host, {
    llmCall: async (next, effect, context) => {
      thread.calling = { request: effect.request, counted: countedUsage(machine, threadId) }
      try {
        return await next(effect, context)
      } finally {
        if (!context.signal.aborted) thread.calling = undefined
      }
    },
    progress: async (next, effect) => {
      await next(effect)
      const outputs = goalChanges(effect.eventDelta, threadId, goal)
      goal = readGoal(machine.history, threadId).state.goal
      await thread.report(outputs)
    },
    checkpoint: async (next, effect, context) => {
      await attend()
      const own = (await next(effect, context)) ?? {}
      return deliver(thread, machine, effect, own)
    },
  })
}

/** The usage of a turn that is counted so far, with what no response reported. */
export function countedUsage({ usage, history }: TurnMachine, threadId: string): TokenUsage {
  return addUsage(usage, readGoal(history, threadId).unreported)
}

async function deliver(thread: ThreadState, machine: TurnMachine, { checkpoint }: Checkpoint, own: CheckpointDelivery): Promise<CheckpointDelivery> {
  const { threadId, log, options, pendingCommands: commands } = thread
  const { policy = {}, continueInTurn = false } = options
  const { history } = machine
  const userMessages = log.undelivered.length === 0 ? log.undelivered : undelivered(log.undelivered, history.slice(log.history.length))
  const queuedInput = userMessages.length > 0 || Object.values(own).some((list) => Array.isArray(list) && list.length > 0)
  // A command that was valid when it was given may be refused by now.
  if (commands.length > 0)
    await thread.report(changeGoal(thread.goalThread, ...commands.map(commandInput)).outputs.filter(({ type }) => type === "refused"))
  const goals = goalDeliveries(history, checkpoint, thread.now(), { threadId, policy, commands, continueInTurn, queuedInput })
  return mergeDeliveries({ ...(userMessages.length > 0 && { userMessages: [...userMessages] }) }, own, goals)
}
