import { type Attributes, SpanKind } from "@opentelemetry/api"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { PrefixWatch } from "../../replay/prefix.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import { OTHER } from "./conventions.ts"
import { refusedTool, steeringEvent } from "./endings.ts"
import type { TelemetryMetrics } from "./metrics.ts"
import { QuietSpan, type Tracing } from "./spans.ts"

/** One run of a turn, in its span. */
export class TracedTurn {
  readonly span: QuietSpan
  readonly machine: TurnMachine
  /** The effect that an earlier process may have performed in part. */
  readonly redelivered: number | undefined
  readonly conversationId: string | undefined
  readonly prefixes: PrefixWatch = new PrefixWatch()
  /** What the model calls of this run used, with their failed attempts. `undefined`: nothing is known. */
  usage: TokenUsage | undefined
  inferenceCalls = 0
  toolCalls = 0
  /** Ends the span of work that was aborted and has not ended, with the effect that it belongs to. */
  readonly #left = new Map<() => void, number>()
  /** The calls that have a span in this run, or had one in an earlier run. */
  readonly #ran = new Set<string>()

  constructor(span: QuietSpan, machine: TurnMachine, conversationId: string | undefined) {
    this.span = span
    this.machine = machine
    this.conversationId = conversationId
    const { outstanding } = machine
    this.redelivered = outstanding?.id
    if (outstanding?.type === "tool_calls") for (const { callId } of outstanding.pending ?? []) this.#ran.add(callId)
  }

  /** Notes that work was aborted. Its span ends when it ends, or when the turn continues without it. */
  left(effectId: number, cutOff: () => void): () => void {
    this.#left.set(cutOff, effectId)
    return () => this.#left.delete(cutOff)
  }

  /** Ends the spans of aborted work of earlier effects; without an effect, of all. */
  endLeft(effectId?: number): void {
    for (const [cutOff, of] of this.#left) {
      if (of === effectId) continue
      this.#left.delete(cutOff)
      cutOff()
    }
  }

  /** Notes that a call has a span of its own. */
  hasSpan(callId: string): void {
    this.#ran.add(callId)
  }

  /** Whether the model was offered a tool of this name. */
  offers(toolName: string): boolean {
    return this.machine.turn.surface.tools.some(({ name }) => name === toolName)
  }

  /**
   * Sees each event of the turn. Requests for a decision, decisions and redirections are events of its span. A call that failed and has no
   * span was refused before it reached a tool, and gets one.
   */
  watch(event: TurnEvent, { metrics, tags, tracing }: Reporting): void {
    const [name, attributes] = steeringEvent(event) ?? []
    if (name !== undefined) this.span.event(name, () => attributes ?? {})
    if (event.type !== "tool_call" || event.callId === undefined) return
    const { args, callId, name: toolName, output } = event
    // What a tool says of its own failure may come from outside, while no run was there to see the call.
    if (this.#ran.delete(callId) || output.status !== "failure" || output.failure.source === "tool") return
    const ending = refusedTool(output.failure)
    // A call that a crash cut off may have run.
    const isRefused = output.failure.code !== "outcome_unknown"
    const known = this.offers(toolName) ? toolName : OTHER
    const span = new QuietSpan(tracing, {
      name: `execute_tool ${known}`,
      kind: SpanKind.INTERNAL,
      parent: this.span.context,
      attributes: () => ({
        "gen_ai.operation.name": "execute_tool",
        ...tags.agent,
        "gen_ai.tool.name": toolName,
        "gen_ai.tool.call.id": callId,
        "gen_ai.tool.type": "function",
        ...(tracing.captureContent && { "gen_ai.tool.call.arguments": JSON.stringify(args) }),
        ...(isRefused && { "turn_machine.tool.refused": true }),
        "turn_machine.iteration": this.machine.iteration,
      }),
    })
    span.end(() => ending)
    if (isRefused) metrics.refusal(ending.error?.type ?? OTHER, { ...tags.turn, "gen_ai.tool.name": known, "gen_ai.tool.type": "function" })
  }
}

/** Where the telemetry of a turn goes, and what is known of all of it. */
export interface Reporting {
  readonly tracing: Tracing
  readonly metrics: TelemetryMetrics
  readonly tags: {
    /** The agent's name, if there is one. */
    readonly agent: Attributes
    /** The agent's name, the provider and the model. */
    readonly turn: Attributes
  }
}
