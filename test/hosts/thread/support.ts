import type { Host } from "../../../src/hosts/host.ts"
import { type RunThreadOptions, runThread, type Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import type { LlmCall } from "../../../src/schemas/effect.ts"
import type { GoalOutput } from "../../../src/schemas/goal.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../../src/schemas/llm.ts"
import { CONFIG } from "../../replay/support.ts"

/** Ten tokens are charged for each call. */
export const USAGE = { inputTokens: 8, cachedInputTokens: 90, outputTokens: 2, reasoningTokens: 1 }

/** An answer: a text, calls, or both. A call is `id=tool`, with arguments after a space. */
export function says(text: string, ...calls: readonly string[]): LlmResponse {
  const parts: OutputPart[] = text === "" ? [] : [{ type: "text", text }]
  for (const call of calls) {
    const [name = "", inputJson = "{}"] = call.split(/ (.*)/s)
    const [callId = "", toolName = ""] = name.split("=")
    parts.push({ type: "tool_call", callId, toolName, inputJson })
  }
  return { text, parts, usage: USAGE, terminalReason: calls.length > 0 ? "tool_use" : "stop" }
}

type Answer = (calls: number, request: LlmRequest, signal: AbortSignal) => LlmResponse | Promise<LlmResponse>

/** A world with a clock: each model call takes a second, and waiting takes no time. */
export class World {
  at = 1_000_000
  readonly requests: LlmRequest[] = []
  readonly waits: number[] = []
  readonly reported: GoalOutput[] = []
  readonly answer: Answer

  constructor(answer: Answer) {
    this.answer = answer
  }

  readonly host: Host = {
    llmCall: async ({ request }: LlmCall, { signal }) => {
      this.at += 1000
      this.requests.push(request)
      return this.answer(this.requests.length - 1, request, signal)
    },
    tools: { call: async ({ toolName }) => ({ output: { status: "success", value: `${toolName} done` } }), effects: () => "idempotent" },
  }

  options(more: Partial<ThreadOptions> = {}): ThreadOptions {
    return { config: CONFIG, now: () => this.at, ...more }
  }

  run(thread: Thread, more: RunThreadOptions = {}, host: Host = this.host): ReturnType<typeof runThread> {
    return runThread(thread, host, {
      now: () => this.at,
      cancelGraceMs: 10,
      onGoal: (output) => this.reported.push(output),
      wait: async (until) => {
        this.waits.push(until - this.at)
        this.at = until
      },
      ...more,
    })
  }
}

export const shown = (request: LlmRequest | undefined): string => JSON.stringify(request?.messages ?? [])

/** How often a text is part of another. */
export const count = (text: string, part: string): number => text.split(part).length - 1
