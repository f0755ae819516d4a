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
  if (tools.some(({ name }) => name === "update_checklist")) return rule(messages)
  const prompt = promptOf(messages)
  return tools.length === 0 && prompt.endsWith("Is the goal reached?") ? ruleFreely(prompt) : undefined
}

/** Rules on the whole goal, as one line of JSON. */
function ruleFreely(prompt: string): PlannedStep {
  const response = between(prompt, "response")
  const left = phrases(response, "Left")
  const stop = stopWords(prompt)
  const cannot = /I cannot do: (.*)/.exec(response)?.[1]
  const ruling =
    stop !== undefined
      ? { verdict: "asked_to_stop", reason: stopReason(stop) }
      : cannot !== undefined
        ? { verdict: "blocked", reason: `The planner cannot do: ${cannot}` }
        : /^Left: nothing\.$/m.test(response)
          ? { verdict: "done", reason: "The answer says that nothing is left." }
          : { verdict: "continue", reason: left.length > 0 ? `Left: ${left.join("; ")}.` : "The answer does not say what is left." }
  return { text: JSON.stringify(ruling), calls: [] }
}

/** What the user said, if it plainly asks to stop. */
function stopWords(prompt: string): string | undefined {
  const said = [...prompt.matchAll(/<said>\n([\s\S]*?)\n<\/said>/g)].map(([, text = ""]) => text)
  return said.findLast((text) => ASKS_TO_STOP.test(text))
}

// Not "do not stop", and not a task about stops.
const ASKS_TO_STOP =
  /^(?:please |ok(?:ay)?[,.]? |no[,.]? )*(?:stop|halt|quit|abort|cancel|enough)\b(?: (?:it|now|here|this|that|please|working|the goal|the work))*[\s.!,]*(?:$|[.!,\n])/i

function stopReason(words: string): string {
  return `The user said: ${words.trim().split("\n")[0]?.slice(0, 200) ?? ""}`
}

function promptOf(messages: readonly LlmMessage[]): string {
  return messages
    .flatMap(({ role, blocks }) => (role === "user" ? blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])) : []))
    .join("\n")
}

function rule(messages: readonly LlmMessage[]): PlannedStep {
  const prompt = promptOf(messages)
  const stop = stopWords(prompt)
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
    reason:
      stop !== undefined
        ? stopReason(stop)
        : isStuck
          ? `The planner cannot do: ${others.map(([, , , text]) => text).join("; ")}`
          : left.length > 0
            ? `Left: ${left.join("; ")}.`
            : "Nothing is left.",
    ...(stop !== undefined ? { verdict: "asked_to_stop" } : isStuck && { verdict: "blocked" }),
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
