import { DriverError, SchemaError } from "../errors.ts"
import type { Projector } from "../projectors/projector.ts"
import { textOf } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { LlmRequest, TokenUsage } from "../wire/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import type { ToolSpec } from "../wire/tool.ts"
import type { CompleteTurnConfig } from "./config.ts"
import type { DriverContext } from "./driver.ts"
import type { History } from "./history.ts"
import { limitReached } from "./limits.ts"
import type { Turn } from "./turn.ts"

/** Makes message ids and gives the driver its view. `nextMessageNumber` counts on from the turn's own counter. */
export class TurnContext implements DriverContext {
  readonly config: CompleteTurnConfig
  readonly tools: readonly ToolSpec[]
  readonly hostTools: readonly ToolSpec[]
  readonly messages: History<Message>
  readonly events: History<HistoryRecord>
  readonly turnCauses: readonly TurnCause[]
  readonly iteration: number
  readonly iterationOffset: number
  readonly maxIterations: number | undefined
  readonly turnLimitScheduled: boolean
  readonly surfaceChanged: boolean
  readonly usage: TokenUsage
  readonly at: number | undefined
  readonly heldMs: number
  // No private fields here: `withTools` makes contexts that inherit from this one, and they count message ids together.
  readonly counter: { next: number }
  readonly systemPrompt: string
  readonly startLength: number
  readonly causes: History<TurnCause>
  readonly deadlineAt: number | undefined

  constructor(config: CompleteTurnConfig, { position, record, surface }: Turn, at?: number, usage: TokenUsage = position.usage) {
    this.config = config
    this.tools = surface.tools
    this.hostTools = surface.tools
    this.messages = record.messages
    this.events = record.events
    this.causes = record.turnCauses
    this.turnCauses = this.causes.toArray()
    this.deadlineAt = position.deadlineAt
    this.iteration = position.iteration
    this.iterationOffset = position.iterationOffset
    this.maxIterations = config.maxIterations
    this.turnLimitScheduled = position.turnLimitScheduled
    this.surfaceChanged = position.surfaceChanged
    this.usage = usage
    // Answers may come late or from another clock; the latest time seen never goes back.
    this.at = at === undefined || (position.at !== undefined && position.at > at) ? position.at : at
    this.heldMs = heldUntil(position, this.at)
    this.counter = { next: position.nextMessageNumber }
    this.systemPrompt = surface.systemPrompt
    this.startLength = record.startLength
  }

  projectRequest({ tools: useTools, ownTools }: { readonly tools: boolean; readonly ownTools?: readonly ToolSpec[] }): LlmRequest {
    const { config, messages, events, turnCauses, iteration, startLength } = this
    const project: Projector = config.projector
    const tools = ownTools === undefined ? this.tools : this.tools.concat(ownTools)
    return project({ config, systemPrompt: this.systemPrompt, tools, messages, events, turnCauses, iteration, startLength, useTools })
  }

  newMessageId(scope: string): string {
    const id = `m_${this.iterationOffset}_${scope}_${this.counter.next}`
    this.counter.next += 1
    return id
  }

  get nextMessageNumber(): number {
    return this.counter.next
  }

  limitReached(ahead = 0): boolean {
    return limitReached(this.config, this.iterationOffset, this.iteration + ahead)
  }

  turnLimitMessage(when: "ended" | "last_iteration" = "ended"): Message {
    return limitMessage(this.config, this.newMessageId("turn_limit"), when)
  }

  withTools(added: readonly ToolSpec[]): DriverContext {
    const tools = withoutTaken(this.tools, added)
    const projectRequest: DriverContext["projectRequest"] = ({ tools: shown, ownTools = [] }) =>
      this.projectRequest({ tools: shown, ownTools: withoutTaken(ownTools, tools.slice(this.tools.length)) })
    // Inherits whatever this context has; its own fields are repeated, so that they are enumerable as in any context.
    return Object.create(this, {
      ...Object.getOwnPropertyDescriptors(this),
      tools: { value: tools, enumerable: true },
      projectRequest: { value: projectRequest, enumerable: true },
    }) as DriverContext
  }
}

/** How long a turn has waited for nothing but people until a time, in milliseconds. Stops at the largest safe integer: a checkpoint holds it. */
export function heldUntil({ heldSince, heldMs }: Pick<Turn["position"], "heldSince" | "heldMs">, at: number | undefined): number {
  return heldSince === undefined || at === undefined ? heldMs : Math.min(heldMs + Math.max(0, at - heldSince), Number.MAX_SAFE_INTEGER)
}

/** A host's function may throw, or return anything. */
function limitMessage(
  { turnLimitMessage, maxIterations = 0, validation }: CompleteTurnConfig,
  id: string,
  when: "ended" | "last_iteration",
): Message {
  if (turnLimitMessage === undefined) return defaultTurnLimitMessage(id, maxIterations, when)
  let message: Message
  try {
    message = turnLimitMessage(id, maxIterations, when)
  } catch (error) {
    throw new DriverError("invalid_limit_message", `The config's turnLimitMessage threw: ${textOf(error)}`)
  }
  const [action] = checkedMessage(validation, message)
  if (action?.type === "schedule_turn_limit_final") return action.message
  throw new DriverError("invalid_limit_message", "The config's turnLimitMessage did not return a message.")
}

/** Without a schema, only what a transcript needs is checked. */
function checkedMessage(validation: CompleteTurnConfig["validation"], message: Message): readonly DriverAction[] {
  const actions: readonly DriverAction[] = [{ type: "schedule_turn_limit_final", message }]
  if (validation === undefined) return typeof message?.id === "string" && Array.isArray(message.parts) ? actions : []
  try {
    return validation.actions(actions)
  } catch (error) {
    if (error instanceof SchemaError) return []
    throw error
  }
}

/** A model reads the message of an ended turn in the next turn of its thread, and that of a last iteration before its last answer. */
function defaultTurnLimitMessage(id: string, maxIterations: number, when: "ended" | "last_iteration"): Message {
  const reached = `its limit of ${maxIterations} ${maxIterations === 1 ? "iteration" : "iterations"}`
  const text =
    when === "ended"
      ? `This turn reached ${reached} and ended here, before a final answer.`
      : `This turn has reached ${reached}. Answer now with what you have: this is its last model call, and you will not see the results of further tool calls or code in this turn.`
  return { id, role: "system", parts: [{ id: `${id}.p0`, type: "error", text }] }
}

/** The tools, and those of the added ones whose names are not taken yet. */
function withoutTaken(tools: readonly ToolSpec[], added: readonly ToolSpec[]): readonly ToolSpec[] {
  const taken = new Set(tools.map(({ name }) => name))
  return tools.concat(added.filter(({ name }) => !taken.has(name) && taken.add(name)))
}
