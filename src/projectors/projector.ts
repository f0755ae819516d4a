import type { CompleteTurnConfigData } from "../wire/config.ts"
import type { LlmRequest } from "../wire/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import type { ToolSpec } from "../wire/tool.ts"

/** A list that only grows, as projectors and drivers read the transcript. `storage` may key a cache. */
export interface Transcript<Item> extends Iterable<Item> {
  readonly length: number
  /** Shared by all transcripts grown from one another; its items below `length` never change. */
  readonly storage: readonly Item[]
  at(index: number): Item | undefined
  slice(start: number, end?: number): readonly Item[]
  toArray(): readonly Item[]
}

/** The input of a projector. `systemPrompt` and `tools` are the last synced ones, which override the config's. */
export interface ProjectionInput {
  readonly config: CompleteTurnConfigData
  readonly systemPrompt: string
  readonly tools: readonly ToolSpec[]
  readonly messages: Transcript<Message>
  readonly events: Transcript<HistoryRecord>
  readonly turnCauses: readonly TurnCause[]
  readonly iteration: number
  /** How many of `messages` the turn began with. */
  readonly startLength: number
  /** Whether the model may call tools in this request. */
  readonly useTools: boolean
}

/** Renders the transcript as a model request. Pure: the same input always gives the same request. */
export type Projector = (input: ProjectionInput) => LlmRequest
