import { setTimeout as wait } from "node:timers/promises"
import type { LlmResponse } from "turn-machine"
import type { Host } from "turn-machine/hosts"

type RequestMessage = Parameters<Host["llmCall"]>[0]["request"]["messages"][number]

const HELP = `I am the model that comes with this example. I know only a few sentences, but everything around me is real. Try:

- **Save a note: water the plants.** I ask you before I save it.
- **Which notes do I have?** I look them up.
- **Delete note 1.** I ask you before I delete it. You may refuse.
- **Count to 50.** Press *Stop*, or reload the page while I count: I continue.

Set \`OPENAI_API_KEY\`, \`ANTHROPIC_API_KEY\` or \`GEMINI_API_KEY\` to talk to a real model.`

/** A model without a network, which writes a word each `wordMs` milliseconds. */
export function builtInModel(wordMs: number): Host["llmCall"] {
  return async ({ request }, { emit, signal }) => {
    const answer = answerTo(request.messages)
    for (const word of answer.text.match(/\S+\s*/g) ?? []) {
      await wait(wordMs, undefined, { signal })
      emit({ type: "text_delta", content: word })
    }
    return answer
  }
}

/** Answers what was said since its last answer; what it knows of tools, it reads from their results. */
function answerTo(messages: readonly RequestMessage[]): LlmResponse {
  const isAnswer = ({ role, blocks }: RequestMessage) => role === "assistant" && blocks.every(({ type }) => type === "text")
  const open = messages.slice(messages.findLastIndex(isAnswer) + 1)
  const asked = open.filter(({ role, blocks }) => role === "user" && blocks.some(({ type }) => type === "text")).at(-1)
  const since = asked === undefined ? open : open.slice(open.indexOf(asked) + 1)
  const results = since.flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === "tool_result" ? [block] : [])))
  if (results.length > 0) return response(results.map(({ text, isError }) => resultText(text, isError === true)).join("\n"))
  const said = asked?.blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join(" ") ?? ""
  return answerToText(said, messages.length)
}

function answerToText(said: string, place: number): LlmResponse {
  const [, note] = /^\s*(?:save a note|remember|note)\b[:,]?\s*(?:that\s+)?(\S.*)$/is.exec(said) ?? []
  if (note !== undefined) return response("I can keep that for you.", [call(place, 0, "save_note", { text: note.trim() })])
  if (/\b(?:delete|remove|forget)\b.*\bnotes?\b/is.test(said)) {
    const ids = (said.match(/\d{1,9}/g) ?? []).slice(0, 5)
    if (ids.length === 0) return response("Which note? Tell me its number.")
    return response(
      "I need your permission for that.",
      ids.map((id, index) => call(place, index, "delete_note", { id: Number(id) })),
    )
  }
  if (/\bnotes?\b/i.test(said)) return response("Let me look.", [call(place, 0, "find_notes", { text: "" })])
  const [, count] = /\bcount\b.*?(\d{1,4})/is.exec(said) ?? []
  if (count === undefined) return response(HELP)
  const numbers = Array.from({ length: Math.min(Number(count), 2_000) }, (_, index) => `${index + 1}`)
  return response(`${numbers.join(", ")}. Done.`)
}

/** A sentence about the result of a tool. */
function resultText(text: string, isError: boolean): string {
  const value = parsed(text)
  if (Array.isArray(value)) {
    if (value.length === 0) return "You have no notes yet."
    return `You have ${value.length === 1 ? "one note" : `${value.length} notes`}:\n\n${value.map((note) => `- ${note.id}: ${note.text}`).join("\n")}`
  }
  if (isError && text.includes("user rejected")) return "All right, I leave it as it is."
  if (isError || value === undefined) return `That was not done: ${text}`
  if (typeof value === "object" && "deleted" in value) return `I deleted note ${value.deleted.id}.`
  return `I saved it as note ${value.id}.`
}

// biome-ignore lint/suspicious/noExplicitAny: the results of the tools of notes.ts
function parsed(text: string): any {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

type ToolCall = Extract<NonNullable<LlmResponse["parts"]>[number], { type: "tool_call" }>

function call(place: number, index: number, toolName: string, args: object): ToolCall {
  return { type: "tool_call", callId: `call-${place}-${index}`, toolName, inputJson: JSON.stringify(args) }
}

function response(text: string, calls: readonly ToolCall[] = []): LlmResponse {
  const usage = { inputTokens: 200, cachedInputTokens: 0, outputTokens: Math.ceil(text.length / 4), reasoningTokens: 0 }
  return { text, parts: [{ type: "text", text }, ...calls], usage, terminalReason: calls.length > 0 ? "tool_use" : "stop" }
}
