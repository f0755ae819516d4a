import type { DriverAction } from "../wire/action.ts"
import type { Message } from "../wire/message.ts"
import type { CompletedToolCall } from "../wire/tool.ts"
import type { MachineAction } from "./apply-actions.ts"
import { divideBatch, joinBatch } from "./batch.ts"
import type { TurnContext } from "./context.ts"
import { addKnown, addUsage, tokensOf } from "./limits.ts"
import { cancelledCall, resultsAction, stopped, toolCallEvent } from "./terminal.ts"

/** A limit of the whole turn: of its tokens, or of its time. */
interface ReachedLimit {
  readonly type: "max_tokens" | "deadline"
  /** The limit in words. */
  readonly name: string
}

/** Returns the limit that a turn has reached, by the usage and the latest time that it knows. `undefined`: none. */
export function reachedLimit({ config, usage, deadlineAt, at }: TurnContext): ReachedLimit | undefined {
  const { maxTokens } = config
  if (maxTokens !== undefined && tokensOf(usage) >= maxTokens) return { type: "max_tokens", name: `its limit of ${maxTokens} tokens` }
  if (deadlineAt !== undefined && at !== undefined && at >= deadlineAt) return { type: "deadline", name: "its deadline" }
  return undefined
}

/** Returns the actions that end a turn at a limit, with a message that the model reads in a later turn. */
export function endAtLimit(context: TurnContext, { type, name }: ReachedLimit, more = ""): readonly MachineAction[] {
  const id = context.newMessageId("turn_limit")
  const text = `This turn reached ${name} and ended here, before a final answer.${more}`
  const message: Message = { id, role: "system", parts: [{ id: `${id}.p0`, type: "error", text }] }
  return [
    { type: "append_events", events: [{ type: "conversation", message }] },
    { type: "finish", outcome: stopped(type) },
  ]
}

/**
 * Returns a driver's actions with the end of the turn in place of the work that they start, if a limit of the turn is reached. The other
 * actions stay, so that what was said is stored, and the calls of a batch get results. A checkpoint is not work: it saves, and may
 * finish the turn.
 */
export function withinLimits(context: TurnContext, actions: readonly MachineAction[]): readonly MachineAction[] {
  const limit = reachedLimit(context)
  if (limit === undefined) return actions
  const start = actions.find(startsWork)
  if (start === undefined) return actions
  const place = actions.indexOf(start)
  // A list with two starts is at fault, and stays so.
  return [
    ...actions.slice(0, place),
    ...leftOut(context, start, limit),
    ...actions.slice(place + 1),
    ...endAtLimit(context, limit, NOT_RUN[start.type]),
  ]
}

type WorkStart = Extract<DriverAction, { type: "start_llm" | "start_tools" | "start_exec" }>

function startsWork(action: MachineAction): action is WorkStart {
  return action.type === "start_llm" || action.type === "start_tools" || action.type === "start_exec"
}

const NOT_RUN: { readonly [Type in WorkStart["type"]]?: string } = { start_exec: " The code of the last answer was not run." }

function leftOut(context: TurnContext, start: WorkStart, { name }: ReachedLimit): readonly MachineAction[] {
  if (start.type !== "start_tools" || start.calls.length === 0) return []
  const { open, settled } = divideBatch(start.calls, start.settled)
  const message = `The call was not run: the turn reached ${name}.`
  const notRun = open.map(
    (call): CompletedToolCall => ({ ...cancelledCall(call, message), output: { status: "cancelled", message, source: "policy" } }),
  )
  const usage = addKnown(...settled.map(({ result }) => result.usage))
  return [
    ...settled.map(({ result }): MachineAction => ({ type: "emit", event: toolCallEvent(result) })),
    ...(usage === undefined ? [] : [{ type: "count_usage" as const, cumulative: addUsage(context.usage, usage) }]),
    resultsAction(context, "tools", joinBatch(notRun, settled)),
  ]
}
