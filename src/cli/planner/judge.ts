import type { Json } from "../../json.ts"
import type { LlmMessage, LlmRequest } from "../../wire/llm.ts"
import type { PlannedStep } from "./planned-step.ts"

const EVERY_PART = "Every part of the folder has a section of its own."
const OVERVIEW = "An overview names all sections."
const SECTION = "There is a section about "

/** Answers as the judge of a survey goal, from what a turn's answer lists as written. `undefined`: the request does not address a judge. */
export function judge({ messages, tools }: LlmRequest): PlannedStep | undefined {
  if (tools.some(({ name }) => name === "submit_checklist")) {
    return call("submit_checklist", { items: [EVERY_PART, OVERVIEW].map((text) => ({ text })) })
  }
  return tools.some(({ name }) => name === "update_checklist") ? rule(messages) : undefined
}

function rule(messages: readonly LlmMessage[]): PlannedStep {
  const prompt = messages
    .flatMap(({ role, blocks }) => (role === "user" ? blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])) : []))
    .join("\n")
  const rows = [...between(prompt, "checklist").matchAll(/^(\d+)\. \[(.)\] (.+)$/gm)]
  const response = between(prompt, "response")
  const written = new Map(phrases(response, "Written so far").map((phrase) => phrase.split(" → ", 2) as [string, string | undefined]))
  const left = phrases(response, "Left")
  const listsLeft = /^Left: /m.test(response)

  const open = rows.filter(([, , mark]) => mark === " ")
  const updates = open.flatMap(([, index, , text = ""]) => {
    const evidence = evidenceFor(text, written, listsLeft && left.length === 0)
    return evidence === undefined ? [] : [{ index: Number(index), status: "completed", evidence }]
  })
  const known = new Set(rows.map(([, , , text = ""]) => text))
  const parts = [...written.keys(), ...left].filter((name) => name !== "the overview")
  // Once nothing is left, another item would only cost another turn.
  const added = left.length === 0 ? [] : parts.map((name) => `${SECTION}${name}.`).filter((text) => !known.has(text))
  const others = open.filter(([, index]) => updates.every((update) => update.index !== Number(index)))
  const isStuck = listsLeft && left.length === 0 && others.length > 0 && response.includes("I cannot do: ")
  return call("update_checklist", {
    updates,
    new_items: added.map((text) => ({ text })),
    reason: isStuck
      ? `The planner cannot do: ${others.map(([, , , text]) => text).join("; ")}`
      : left.length > 0
        ? `Left: ${left.join("; ")}.`
        : "Nothing is left.",
    ...(isStuck && { verdict: "blocked" }),
  })
}

/** Quotes what in the answer shows that an item is done. */
function evidenceFor(text: string, written: ReadonlyMap<string, string | undefined>, isAll: boolean): string | undefined {
  if (text === EVERY_PART) return isAll ? "The answer names a section for each part and says that nothing is left." : undefined
  const name = text === OVERVIEW ? "the overview" : text.startsWith(SECTION) ? text.slice(SECTION.length, -1) : undefined
  const path = name === undefined ? undefined : written.get(name)
  return path === undefined ? undefined : `The answer names it as written: ${path}`
}

/** The phrases of a line that starts with a word, without the full stop. */
function phrases(response: string, word: string): readonly string[] {
  const line = new RegExp(`^${word}: (.*)\\.$`, "m").exec(response)?.[1]
  return line === undefined || line === "nothing" ? [] : line.split("; ")
}

function between(prompt: string, tag: string): string {
  return new RegExp(`<${tag}>\\n([\\s\\S]*?)\\n</${tag}>`).exec(prompt)?.[1] ?? ""
}

function call(toolName: string, input: { readonly [key: string]: Json }): PlannedStep {
  return { text: "", calls: [{ toolName, input }] }
}
