import { chatDriver } from "../../../src/drivers/chat.ts"
import { type ChildToolOptions, childTool } from "../../../src/hosts/child/index.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { type JournaledOptions, journaled } from "../../../src/hosts/journal/journaled.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { type Tool, toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import type { LlmCall } from "../../../src/wire/effect.ts"
import type { LlmResponse, TokenUsage } from "../../../src/wire/llm.ts"

export const USAGE: TokenUsage = { inputTokens: 10, cachedInputTokens: 1, outputTokens: 5, reasoningTokens: 2 }

/** An answer with text, and calls as `tool:callId:argument`. */
export function says(text: string, ...calls: readonly string[]): LlmResponse {
  const made = calls.map((call) => {
    const [toolName = "", callId = "", task = ""] = call.split(":")
    return { type: "tool_call", callId, toolName, inputJson: JSON.stringify({ task }) } as const
  })
  const parts = [...(text === "" ? [] : [{ type: "text", text } as const]), ...made]
  return { text, parts, usage: USAGE, terminalReason: made.length === 0 ? "stop" : "tool_use" }
}

/** What the model is asked for: the first user message, and how many answers it gave. */
export function asked({ request }: LlmCall): { readonly task: string; readonly answers: number; readonly results: readonly string[] } {
  const blocks = request.messages.flatMap((message) => message.blocks)
  const first = request.messages.find(({ role }) => role === "user")
  const task = (first?.blocks ?? []).flatMap((block) => (block.type === "text" ? [block.text] : [])).join("")
  const results = blocks.flatMap((block) => (block.type === "tool_result" ? [block.text] : []))
  return { task, answers: request.messages.filter(({ role }) => role === "assistant").length, results }
}

export function configOf(tools: readonly Tool[], more: Partial<TurnConfig> = {}): TurnConfig {
  return { driver: chatDriver(), projector: chatProjector, model: "scripted", tools: toolbox(tools).specs, ...more }
}

export const START = { messages: [{ id: "u", role: "user" as const, parts: [{ id: "u.p0", type: "text" as const, text: "parent" }] }] }

/** A parent whose only tool is a child tool, named `sub`. `model` answers both, by their task. */
export function family(
  store: JournalStore,
  model: Host["llmCall"],
  {
    own = [],
    child = {},
    journal = {},
    config = {},
  }: {
    readonly own?: readonly Tool[]
    readonly child?: Partial<ChildToolOptions>
    readonly journal?: JournaledOptions
    readonly config?: Partial<TurnConfig>
  } = {},
) {
  const tools = toolbox(own)
  const sub = childTool({ name: "sub", description: "A subagent.", config: configOf(own), host: { llmCall: model, tools }, ...child })
  const host: Host = { llmCall: model, tools: toolbox([sub, ...own]) }
  const turn = { config: configOf([sub, ...own], config), start: START, turnId: "T" }
  return { sub, host, turn, run: journaled(host, store, journal).run, journaled: journaled(host, store, journal) }
}
