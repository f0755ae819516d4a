import type { LlmCall } from "turn-machine"
import type { Host } from "turn-machine/hosts"

const USAGE = { inputTokens: 100, cachedInputTokens: 0, outputTokens: 20, reasoningTokens: 0 }

/** A model that plays all roles, so that this example needs no key. Put the `llmCall` of `openAiCompatible({ … })` in its place. */
export const model: Host["llmCall"] = async ({ request }: LlmCall) => {
  const answers = request.messages.filter(({ role }) => role === "assistant").length
  const prompt = request.messages
    .flatMap(({ role, blocks }) => (role === "system" ? blocks : []))
    .flatMap((block) => (block.type === "text" ? [block.text] : []))
  const results = request.messages.flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === "tool_result" ? [block.text] : [])))
  const tools = request.tools.map(({ name }) => name)
  if (tools.includes("research") && answers === 0)
    return calls(["research", { task: "When does the shop open?" }], ["write_mail", { task: "Tell ada that the shop opens at nine." }])
  if (tools.includes("send") && answers === 0) return calls(["send", { to: "ada", text: "The shop opens at nine." }])
  return says(results.length > 0 ? results.join(" / ") : prompt.length > 0 ? "At nine." : "?")
}

function says(text: string) {
  return { text, parts: [{ type: "text", text } as const], usage: USAGE, terminalReason: "stop" as const }
}

function calls(...given: readonly (readonly [string, object])[]) {
  const parts = given.map(
    ([toolName, args], index) => ({ type: "tool_call", callId: `call_${index}`, toolName, inputJson: JSON.stringify(args) }) as const,
  )
  return { text: "", parts, usage: USAGE, terminalReason: "tool_use" as const }
}
