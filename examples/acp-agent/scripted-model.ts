import type { LlmResponse } from "turn-machine"
import type { Host } from "turn-machine/hosts"
import type { Model } from "./models.ts"

type Request = Parameters<Host["llmCall"]>[0]["request"]
type RequestMessage = Request["messages"][number]

const HELP =
  'This is a scripted model, so that you can try the agent without a key. Say "read FILE", "list", "write FILE: TEXT", "edit FILE: OLD -> NEW", "run COMMAND", "count to 20" or "think", or /goal with one of these.'

/** The words that it understands, and the calls that they become. Several of them in one prompt are called together. */
const SCRIPT: readonly (readonly [RegExp, (groups: readonly string[]) => readonly [toolName: string, args: object]])[] = [
  [/\bread ([^\s:,]+)/g, ([path]) => ["read_file", { path }]],
  [/\blist\b()/g, () => ["list_files", {}]],
  [/\bwrite ([^\s:]+): ([^\n<]+)/g, ([path, content]) => ["write_file", { path, content }]],
  [/\bedit ([^\s:]+): ([^\n]+?) -> ([^\n<]+)/g, ([path, before, after]) => ["edit_file", { path, old_text: before, new_text: after }]],
  [/\brun ([^\n<]+)/g, ([command]) => ["run_command", { command }]],
  [/\bcall ([\w-]+__[\w-]+) (\{.*\})/g, ([toolName = "", args = ""]) => [toolName, JSON.parse(args) as object]],
]

/** A model that needs no key. It streams a word each `wordMs` milliseconds. */
export function scriptedModel(wordMs: number): Model {
  return {
    name: "scripted",
    contextWindow: 100_000,
    async llmCall({ request }, { emit, signal }) {
      const answer = answerTo(request)
      const stream = async (type: "text_delta" | "reasoning_delta", text: string): Promise<void> => {
        for (const word of text.split(/(?<= )/)) {
          await pause(wordMs, signal)
          if (word !== "") emit({ type, content: word })
        }
      }
      for (const part of answer.parts) {
        if (part.type === "reasoning") await stream("reasoning_delta", part.text)
        if (part.type === "text") await stream("text_delta", part.text)
      }
      return answer
    },
  }
}

function answerTo({ messages, tools }: Request): LlmResponse {
  // The judge of a goal offers tools of its own.
  if (tools.some(({ name }) => name === "submit_checklist"))
    return answer("", [["submit_checklist", { items: [{ text: "The work is done." }, { text: "The agent says so." }] }]])
  if (tools.some(({ name }) => name === "update_checklist")) {
    const updates = [1, 2].map((index) => ({ index, status: "completed", evidence: "The transcript shows it." }))
    return answer("", [["update_checklist", { updates, new_items: [], reason: "All is shown." }]])
  }
  // What was said last, and what was done since.
  const open = messages.slice(messages.findLastIndex((message) => message.role === "user" && textsOf(message).length > 0))
  const said = textsOf(open[0]).join("\n")
  const results = open.flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === "tool_result" ? [block.text] : [])))
  const isGoal = messages.some((message) => textsOf(message).some((text) => text.includes("<objective>")))
  if (results.length > 0) return answer(`The tools say: ${results.map((text) => JSON.stringify(text.slice(0, 200))).join(", ")}.`)
  const calls = SCRIPT.flatMap(([pattern, call]) => [...said.matchAll(pattern)].map(([, ...groups]) => call(groups)))
  // A goal continues with its context, or says its objective again.
  if (said.includes("<goal_context>") && calls.length === 0) return answer("The work is done.")
  const called = messages.flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === "tool_call" ? [block.inputJson] : [])))
  if (isGoal && calls.length > 0 && calls.every(([, args]) => called.includes(JSON.stringify(args)))) return answer("The work is done.")
  if (calls.length > 0) return answer("I call my tools. ", calls)
  const [, count] = /count to (\d+)/.exec(said) ?? []
  if (count !== undefined) return answer(Array.from({ length: Math.min(Number(count), 10_000) }, (_, index) => index + 1).join(" "))
  if (/\bthink\b/.test(said)) return answer("I have thought.", [], "Let me think about this.")
  if (/\bfail\b/.test(said)) throw new Error("The script says that the model fails.")
  const attached = open.flatMap(({ blocks }) => blocks.filter(({ type }) => type !== "text" && type !== "tool_result")).length
  return answer(`You said: ${said}${attached > 0 ? ` (with ${attached} attachments)` : ""}. ${HELP}`)
}

function textsOf(message: RequestMessage | undefined): readonly string[] {
  return (message?.blocks ?? []).flatMap((block) => (block.type === "text" ? [block.text] : []))
}

function answer(text: string, calls: readonly (readonly [toolName: string, args: object])[] = [], reasoning = ""): LlmResponse {
  const usage = { inputTokens: 400, cachedInputTokens: 100, outputTokens: 20, reasoningTokens: 0 }
  const parts: LlmResponse["parts"] = [
    ...(reasoning === "" ? [] : [{ type: "reasoning", text: reasoning } as const]),
    ...(text === "" ? [] : [{ type: "text", text } as const]),
    ...calls.map(
      ([toolName, args], index) => ({ type: "tool_call", callId: `call_${index + 1}`, toolName, inputJson: JSON.stringify(args) }) as const,
    ),
  ]
  return { text, parts, usage, terminalReason: calls.length > 0 ? "tool_use" : "stop" }
}

/** Waits, and rejects when the work is no longer needed. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop)
      resolve()
    }, ms)
    if (signal.aborted) stop()
    else signal.addEventListener("abort", stop, { once: true })
  })
}
