import type { Generation } from "./llm.ts"
import type { HistoryRecord, Message, TurnCause } from "./message.ts"
import type { ToolSpec } from "./tool.ts"

/** The JSON part of a turn's configuration, before defaults. Only `model` is required; an optional key may be `undefined`. */
export type TurnConfigData = {
  /** The model's name at its provider. */
  readonly model: string
  /** A variant of the model, such as a reasoning effort. The model client gives it its meaning. */
  readonly modelVariant?: string | undefined
  /** Names the session in log entries. Default `"turn"`. */
  readonly sessionId?: string | undefined
  /** Sent with every request as its `sessionId`, so that a provider may route calls of one session to one cache. */
  readonly runSessionId?: string | undefined
  /** The system prompt. Default `""`: none. */
  readonly systemPrompt?: string | undefined
  /** The tools that the model is shown: the `specs` of a toolbox. Default `[]`. */
  readonly tools?: readonly ToolSpec[] | undefined
  /** The size of the model's context window in tokens. Absent: unknown. */
  readonly maxContextTokens?: number | undefined
  /**
   * The longest tool result that the model reads, in tokens (at least 1), estimated as four characters each. Of a longer one it reads the head and
   * the tail, with a note between them. Default: half of `maxContextTokens`; no limit where that is unknown.
   */
  readonly maxResultTokens?: number | undefined
  /** Iterations after which the turn has to end. Absent: no limit. */
  readonly maxIterations?: number | undefined
  /**
   * Tokens after which the turn has to end: `inputTokens` plus `outputTokens` of its whole usage, as a goal's token budget counts. Tokens
   * read from a cache do not count. Those of failed calls, retries and tools do. With so many used nothing new starts, and the turn stops as
   * `max_tokens`, with all that was said. Absent: no limit.
   */
  readonly maxTokens?: number | undefined
  /** How the model generates. Default `{}`: the provider's own settings. */
  readonly generation?: { readonly [Setting in keyof Generation]?: Generation[Setting] | undefined } | undefined
  /** `false`: the model may make only one tool call in an answer. Default: the provider's own rule. */
  readonly parallelToolCalls?: false | undefined
  /** Whether wires mark what a provider should cache. Default: `auto`. */
  readonly cache?: "auto" | "off" | undefined
  /** Whether the host is asked for the system prompt and tools before each iteration. Default `false`. */
  readonly syncExecutionSurface?: boolean | undefined
  /** Whether each model call emits a `log` effect with a summary of the answer. Default `false`. */
  readonly emitLlmTrace?: boolean | undefined
}

/** {@link TurnConfigData} with its defaults filled in. */
export type CompleteTurnConfigData = {
  /** The model's name at its provider. */
  readonly model: string
  /** A variant of the model, such as a reasoning effort. The model client gives it its meaning. */
  readonly modelVariant?: string
  /** Names the session in log entries. */
  readonly sessionId: string
  /** Sent with every request as its `sessionId`, so that a provider may route calls of one session to one cache. */
  readonly runSessionId?: string
  /** The system prompt. `""`: none. */
  readonly systemPrompt: string
  /** The tools that the model is shown. */
  readonly tools: readonly ToolSpec[]
  /** The size of the model's context window in tokens. Absent: unknown. */
  readonly maxContextTokens?: number
  /** The longest tool result that the model reads, in tokens. Absent: half of `maxContextTokens`, or no limit. */
  readonly maxResultTokens?: number
  /** Iterations after which the turn has to end. Absent: no limit. */
  readonly maxIterations?: number
  /** Tokens (`inputTokens` plus `outputTokens`) after which the turn has to end. Absent: no limit. */
  readonly maxTokens?: number
  /** How the model generates. */
  readonly generation: Generation
  /** `false`: the model may make only one tool call in an answer. */
  readonly parallelToolCalls?: false
  /** Whether wires mark what a provider should cache. Absent: `auto`. */
  readonly cache?: "auto" | "off"
  /** Whether the host is asked for the system prompt and tools before each iteration. */
  readonly syncExecutionSurface: boolean
  /** Whether each model call emits a `log` effect with a summary of the answer. */
  readonly emitLlmTrace: boolean
}

/** What a turn begins with: the thread so far. */
export type TurnStart = {
  /** The transcript, with the user's new message last. */
  readonly messages: readonly Message[]
  /** The history. Default: empty. */
  readonly events?: readonly HistoryRecord[]
  /** The outside events that the turn runs for. */
  readonly turnCauses?: readonly TurnCause[]
  /** The number of the first iteration, which makes message ids unique in a thread. Default 0. */
  readonly iterationOffset?: number
  /**
   * When the turn has to end, in milliseconds since the epoch. It is compared with the `at` of responses, and never with a clock: a host
   * that gives no `at` has no deadline. Past it nothing new starts, and the turn stops as `deadline`, with all that was said. A resumed turn
   * keeps it. Default: none.
   */
  readonly deadlineAt?: number
  /** The thread's last request had another system prompt or other tools. The driver then records that the prompt cache is lost. */
  readonly surfaceChanged?: true
}
