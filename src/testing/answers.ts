import type { Decision, DecisionFacts, HeldCall, Verdict } from "../wire/approval.ts"
import type { AnswerableEffect } from "../wire/effect.ts"
import type { CheckpointDelivery } from "../wire/message.ts"
import type { ExecResult, ExecutionSurfaceSynced, LlmComplete, Response } from "../wire/response.ts"
import type { CompletedToolCall, PendingToolCall } from "../wire/tool.ts"

/** The result of a tool call, without the fields of the call itself. */
export type ScriptedToolAnswer = Pick<CompletedToolCall, "output" | "modelReturn">

/** A decision about a held call, without the fields that identify the call. */
export type ScriptedDecision = Verdict & Pick<DecisionFacts, "by" | "note">

/** One answer for each type of effect. Absent: the effect succeeds with a plain answer. */
export interface Answers {
  readonly surface?: ExecutionSurfaceSynced["result"]
  readonly llm?: LlmComplete["result"]
  readonly textStreamed?: true
  /** For the calls in order. Where there are more calls than answers, the answers repeat from the first. */
  readonly tools?: readonly ScriptedToolAnswer[]
  /**
   * For the held calls in order, once no other call is left to answer. Where there are more calls than decisions, the decisions repeat from
   * the first. One that a call does not allow is `cancelled`. Default: the calls are approved.
   */
  readonly decisions?: readonly ScriptedDecision[]
  readonly exec?: ExecResult["result"]
  readonly delivery?: CheckpointDelivery
}

const SUCCESS: ScriptedToolAnswer = { output: { status: "success", value: "done" } }

/** The surface is unchanged, the model says "done", tools and code succeed, nothing is delivered. */
const DEFAULTS = {
  surface: { ok: true },
  llm: {
    ok: true,
    response: {
      text: "done",
      parts: [],
      usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
      terminalReason: "stop",
    },
  },
  exec: { ok: true, value: { observations: [], toolCalls: [], images: [], printedImages: [], durationMs: 0 } },
  delivery: {},
} as const satisfies Answers

/**
 * Returns the response to an effect, with the results of all calls of a batch that may run or continue outside; without any, with decisions
 * about those that are held. `at`: milliseconds since the epoch.
 */
export function answerTo(effect: AnswerableEffect, answers: Answers = {}, at?: number): Response {
  const base = { id: effect.id, ...(at !== undefined && { at }) }
  switch (effect.type) {
    case "sync_execution_surface":
      return { type: "execution_surface_synced", ...base, result: answers.surface ?? DEFAULTS.surface }
    case "llm_call": {
      const streamed = answers.textStreamed === true ? { textStreamed: true as const } : {}
      return { type: "llm_complete", ...base, ...streamed, result: answers.llm ?? DEFAULTS.llm }
    }
    case "tool_calls": {
      const { held = [], pending = [] } = effect
      const open = [...effect.calls, ...pending.map(({ token: _token, note: _note, ...call }) => call)]
      if (open.length === 0 && held.length > 0) return { type: "tool_decisions", ...base, decisions: decisionsAbout(held, answers.decisions) }
      const tools = answers.tools ?? []
      const results = open.map((call, index) => completed(call, tools[index % tools.length] ?? SUCCESS))
      return { type: "tool_results", ...base, results }
    }
    case "exec_code":
      return { type: "exec_result", ...base, result: answers.exec ?? DEFAULTS.exec }
    case "checkpoint":
      return { type: "checkpoint_delivery", ...base, delivery: answers.delivery ?? DEFAULTS.delivery }
  }
}

/** Decides about held calls, in order. A decision that a call does not allow is `cancelled`. */
export function decisionsAbout(held: readonly HeldCall[], given: readonly ScriptedDecision[] = []): readonly Decision[] {
  return held.map(({ requestId, digest, ask }, index) => {
    const decision: ScriptedDecision = given[index % given.length] ?? { decision: "approve" }
    const kind = decision.decision
    const allowed = kind === "expired" || kind === "cancelled" || ask.allow.includes(kind)
    const scope = "scope" in decision ? decision.scope : undefined
    const reaches = scope === undefined || scope === "call" || ask.scopes.includes(scope)
    return { requestId, digest, ...(allowed && reaches ? decision : { decision: "cancelled" }) }
  })
}

function completed(call: PendingToolCall, answer: ScriptedToolAnswer): CompletedToolCall {
  return { ...call, ...answer, durationMs: 0 }
}
