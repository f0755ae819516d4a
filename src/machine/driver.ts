import type { Json } from "../json.ts"
import type { Projector, Transcript } from "../projectors/projector.ts"
import type { DriverAction } from "../schemas/action.ts"
import type { TurnConfigData } from "../schemas/config.ts"
import type { ExecCode, LlmCall } from "../schemas/effect.ts"
import type { CheckpointKind } from "../schemas/event.ts"
import type { LlmFailure, LlmRequest, LlmResponse, TokenUsage } from "../schemas/llm.ts"
import type { CheckpointDelivery, HistoryRecord, Message, TurnCause } from "../schemas/message.ts"
import type { ExecResult } from "../schemas/response.ts"
import type { CompletedToolCall, ToolSpec } from "../schemas/tool.ts"
import type { History } from "./history.ts"
import { limitReached } from "./limits.ts"
import type { Turn, TurnConfig } from "./turn.ts"

/**
 * Pure policy: what the model's answer means and what to do next. A driver changes nothing; it returns actions.
 * It keeps its own state as `protocol` records in the history, or as `driverState` on the work it starts; never in
 * itself, because a restored turn has only the checkpoint.
 *
 * Every list must lead on: start one piece of work, or finish. One that does not ends the turn as `runtime_error`.
 * @see docs/write-a-driver.md
 */
export interface ProtocolDriver {
  /** Written into checkpoints; a turn is restored only under the driver it was saved under. */
  readonly name: string
  /** Raised when the meaning of `driverState` or of the driver's own records changes. */
  readonly version: number
  /** A new iteration begins. Most drivers project a request and start the model call. */
  prepareIteration(context: DriverContext): readonly DriverAction[]
  /** The model answered with `stop`, `tool_use` or `unknown`. Answers that end a turn by themselves never get here. */
  onLlmComplete(context: DriverContext, waiting: WaitingLlm, response: LlmResponse, textStreamed: boolean): readonly DriverAction[]
  /** All calls of a batch are answered; `results` are in the order of the calls. */
  onToolResults(context: DriverContext, results: readonly CompletedToolCall[]): readonly DriverAction[]
  /** Needed by drivers that start `exec_code`. */
  onExecResult?(context: DriverContext, waiting: WaitingExec, result: ExecResult["result"]): readonly DriverAction[]
  /** The model call failed. `undefined`, or no such callback: the turn stops as `provider_error`. */
  onLlmFailed?(context: DriverContext, waiting: WaitingLlm, error: LlmFailure): readonly DriverAction[] | undefined
  /** A host delivered something. The actions follow what was delivered; if they start nothing, the turn prepares anew. */
  onDelivery?(context: DriverContext, checkpoint: CheckpointKind, delivery: CheckpointDelivery): readonly DriverAction[]
}

/** The model call that was answered, with what the driver gave along. */
export interface WaitingLlm {
  readonly outstanding: LlmCall
  readonly driverState?: Json
}

/** The code that was executed, with what the driver gave along. */
export interface WaitingExec {
  readonly outstanding: ExecCode
  readonly driverState: Json
}

/** The turn as its driver sees it: before the actions that the driver returns are applied. */
export interface DriverContext {
  readonly config: TurnConfigData
  readonly tools: readonly ToolSpec[]
  readonly messages: Transcript<Message>
  readonly events: Transcript<HistoryRecord>
  readonly turnCauses: readonly TurnCause[]
  readonly iteration: number
  readonly iterationOffset: number
  readonly maxIterations: number | undefined
  readonly usage: TokenUsage
  /** The latest time seen on any response, in milliseconds since the epoch. Absent until a response carries one. */
  readonly at: number | undefined
  /**
   * Renders the transcript as it is now. What the same list appends is not in it. `ownTools`: tools that the driver answers
   * itself, shown behind the host's where tools are shown at all.
   */
  projectRequest(options: { readonly tools: boolean; readonly ownTools?: readonly ToolSpec[] }): LlmRequest
  /** The next message id, `m_<iterationOffset>_<scope>_<n>`. Counted, so the same in every replay. */
  newMessageId(scope: string): string
  /** Whether the iteration `ahead` of this one (default 0) is at or past the turn's limit. */
  limitReached(ahead?: number): boolean
  /** The host's message for a reached limit, under a new id. */
  turnLimitMessage(): Message
  /**
   * The same context with tools of a wrapping driver's own, for the driver inside: they are among `tools`, and every request that
   * shows tools shows them last. A tool whose name is taken already is left out: the host's own stays, and is never run.
   */
  withTools(tools: readonly ToolSpec[]): DriverContext
}

/** Makes message ids and gives the driver its view. `nextMessageNumber` counts on from the turn's own counter. */
export class TurnContext implements DriverContext {
  readonly config: TurnConfig
  readonly tools: readonly ToolSpec[]
  readonly messages: History<Message>
  readonly events: History<HistoryRecord>
  readonly turnCauses: readonly TurnCause[]
  readonly iteration: number
  readonly iterationOffset: number
  readonly maxIterations: number | undefined
  readonly usage: TokenUsage
  readonly at: number | undefined
  // No private fields here: `withTools` makes contexts that inherit from this one, and they count message ids together.
  readonly counter: { next: number }
  readonly systemPrompt: string

  constructor(config: TurnConfig, { position, record, surface }: Turn, at?: number, usage: TokenUsage = position.usage) {
    this.config = config
    this.tools = surface.tools
    this.messages = record.messages
    this.events = record.events
    this.turnCauses = record.turnCauses
    this.iteration = position.iteration
    this.iterationOffset = position.iterationOffset
    this.maxIterations = config.maxIterations
    this.usage = usage
    // Answers may come late or from another clock; the latest time seen never goes back.
    this.at = at === undefined || (position.at !== undefined && position.at > at) ? position.at : at
    this.counter = { next: position.nextMessageNumber }
    this.systemPrompt = surface.systemPrompt
  }

  projectRequest({ tools: useTools, ownTools }: { readonly tools: boolean; readonly ownTools?: readonly ToolSpec[] }): LlmRequest {
    const { config, messages, events, turnCauses, iteration } = this
    const project: Projector = config.projector
    const tools = ownTools === undefined ? this.tools : this.tools.concat(ownTools)
    return project({ config, systemPrompt: this.systemPrompt, tools, messages, events, turnCauses, iteration, useTools })
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

  turnLimitMessage(): Message {
    const make = this.config.turnLimitMessage ?? defaultTurnLimitMessage
    return make(this.newMessageId("turn_limit"), this.config.maxIterations ?? 0)
  }

  withTools(added: readonly ToolSpec[]): DriverContext {
    const missing = added.filter(({ name }) => !this.tools.some((tool) => tool.name === name))
    const projectRequest: DriverContext["projectRequest"] = ({ tools, ownTools = [] }) =>
      this.projectRequest({ tools, ownTools: ownTools.concat(missing) })
    return Object.create(this, { tools: { value: this.tools.concat(missing) }, projectRequest: { value: projectRequest } }) as DriverContext
  }
}

function defaultTurnLimitMessage(id: string, maxIterations: number): Message {
  const text = `This turn may use ${maxIterations} iterations and has used them. Answer now with what you have; no more tools will be run.`
  return { id, role: "system", parts: [{ id: `${id}.p0`, type: "error", text }] }
}
