import { appendFileSync } from "node:fs"
import type { ChatMessage } from "../support/strict-rules.ts"
import type { ChatBody, ScriptedAnswer } from "../support/strict-server.ts"

// What the models of goals.test.ts answer. Each request adds a line to the file GOAL_EVENTS: `agent NUMBER TURN step`, `agent NUMBER TURN end`,
// or `judge NUMBER ANSWER`, where ANSWER is the number of the judged answer.

const EVENTS = process.env["GOAL_EVENTS"] ?? ""
const ITEMS = Number(process.env["GOAL_ITEMS"] ?? 8)

export default function answer({ messages, tools = [] }: ChatBody, number: number): ScriptedAnswer {
  const names = tools.map((tool) => tool.function.name)
  const answered = names.includes("list_files") ? agent(messages, number) : judge(messages, names, number)
  return { ...answered, firstByteMs: 10 + ((number * 7) % 31), betweenMs: 5 }
}

/** In each turn a tool call, then a text. Both name the number of the request. */
function agent(messages: readonly ChatMessage[], number: number): ScriptedAnswer {
  const last = messages.findLastIndex(({ role, tool_calls = [] }) => role === "assistant" && tool_calls.length === 0)
  const turn = messages.filter(({ role, tool_calls = [] }) => role === "assistant" && tool_calls.length === 0).length + 1
  const isWorked = messages.slice(last + 1).some(({ role }) => role === "tool")
  appendFileSync(EVENTS, `agent ${number} ${turn} ${isWorked ? "end" : "step"}\n`)
  if (isWorked) return { text: `Part ${turn} is done, as answer ${number} says.` }
  const call = turn % 2 === 0 ? { name: "write_file", args: { path: `part-${turn}.md`, content: `Part ${turn}.` } } : { name: "list_files", args: {} }
  return { calls: [{ ...call, id: `call_${number}` }] }
}

/** A list of items, then one settled item for each turn. It reads a page of the history before every third verdict. */
function judge(messages: readonly ChatMessage[], names: readonly string[], number: number): ScriptedAnswer {
  const prompt = messages.find(({ role }) => role === "user")?.content
  const text = typeof prompt === "string" ? prompt : JSON.stringify(prompt)
  const judged = /answer (\d+) says/.exec(text)?.[1] ?? "0"
  appendFileSync(EVENTS, `judge ${number} ${judged}\n`)
  if (names.includes("submit_checklist"))
    return {
      calls: [{ name: "submit_checklist", args: { items: Array.from({ length: ITEMS }, (_, index) => ({ text: `Part ${index + 1} exists.` })) } }],
    }
  const open = /(\d+)\. \[ \]/.exec(text)?.[1]
  const transcript = /with the transcript \\?"([^"\\]+)/.exec(text)?.[1]
  const hasRead = messages.some(({ role }) => role === "tool")
  if (Number(open) % 3 === 0 && !hasRead && names.includes("read_history")) return { calls: [{ name: "read_history", args: { transcript } }] }
  const updates = open === undefined ? [] : [{ index: Number(open), status: "completed", evidence: `Answer ${judged}.` }]
  return { calls: [{ name: "update_checklist", args: { updates, new_items: [], reason: `Item ${open} is shown.`, verdict: "continue" } }] }
}
