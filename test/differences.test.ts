import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { tagsOf } from "../scripts/shapes.ts"
import { chatDriver } from "../src/drivers/chat.ts"
import {
  applyJudgement,
  ChecklistJudge,
  type ChecklistPolicy,
  continuationPrompt,
  manageChecklist,
  newChecklistState,
} from "../src/drivers/checklist/index.ts"
import { checklistSettings } from "../src/drivers/checklist/settings.ts"
import { DEFAULT_GOAL_POLICY } from "../src/drivers/goal/policy.ts"
import { TRANSITIONS } from "../src/machine/transitions.ts"
import { DriverAction } from "../src/schemas/action.ts"
import { Effect } from "../src/schemas/effect.ts"
import type { Json } from "../src/schemas/json.ts"
import type { LlmResponse, OutputPart } from "../src/schemas/llm.ts"
import { Response } from "../src/schemas/response.ts"
import type { TurnMachine } from "../src/validated-turn-machine.ts"
import { TurnMachine as Machine } from "../src/validated-turn-machine.ts"
import { ROOT } from "./built.ts"
import {
  answer,
  callsTools,
  completed,
  configOf,
  delivers,
  moved,
  pending,
  pollAll,
  REQUEST,
  respond,
  results,
  says,
  startedWith,
} from "./machine/support.ts"

const PAGE = readFileSync(join(ROOT, "docs/differences.md"), "utf8")
/** The last section of the page about goals. */
const GOALS = readFileSync(join(ROOT, "docs/goals.md"), "utf8").split("\n## Differences from Codex\n")[1] ?? ""

interface Row {
  readonly section: string
  readonly cells: Readonly<Record<string, string>>
  /** The first cell, which names the row. */
  readonly name: string
}

/** The rows of all tables, with the marker (`names: …`) or the heading before them. */
function readRows(page: string): readonly Row[] {
  let [section, marker, head]: [string, string | undefined, readonly string[] | undefined] = ["", undefined, undefined]
  const rows: Row[] = []
  for (const line of page.split("\n")) {
    const heading = /^## (.+)$/.exec(line)?.[1]
    if (heading !== undefined) section = heading
    marker = /^<!-- (.+) -->$/.exec(line)?.[1] ?? marker
    if (!line.startsWith("|")) {
      if (line !== "" && !line.startsWith("<!--")) marker = undefined
      if (head !== undefined) [head, marker] = [undefined, undefined]
      continue
    }
    const cells = line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim())
    // The table of the goals calls this column "ours".
    if (head === undefined) head = cells.map((cell) => (cell === "ours" ? "here" : cell))
    else if (cells[0] !== "---")
      rows.push({ section: marker ?? section, name: cells[0] ?? "", cells: Object.fromEntries(head.map((key, index) => [key, cells[index] ?? ""])) })
  }
  return rows
}

const ROWS = [...readRows(PAGE), ...readRows(GOALS)]
const rowsOf = (section: string): readonly Row[] => ROWS.filter((row) => row.section === section)
const names = (text: string): readonly string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name)
const here = (section: string): readonly string[] => rowsOf(section).map(({ cells }) => names(cells["here"] ?? "")[0] ?? "")

describe("names", () => {
  test.each([
    ["states", Object.keys(TRANSITIONS)],
    ["effects", tagsOf(Effect)],
    ["responses", tagsOf(Response)],
    ["actions", tagsOf(DriverAction)],
  ])("the table of %s is complete", (section, all) => {
    expect([...here(`names: ${section}`)].sort()).toEqual([...all].sort())
  })

  test('every name in a column "here" is in the sources', () => {
    const sources = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => readFileSync(join(ROOT, "src", file), "utf8"))
      .join("\n")
    const words = new Set(sources.match(/[\w$]+/g))
    for (const { name, cells } of ROWS) {
      const mentioned = names(`${cells["here"] ?? ""} ${cells["difference"] ?? ""}`)
      for (const word of mentioned.filter((text) => /^[a-z]\w+$/i.test(text) && text !== "on_empty" && text !== "CheckpointResumeAction"))
        expect(words.has(word), `${name}: ${word}`).toBe(true)
    }
  })

  test("every row says what is here", () => {
    expect(ROWS.length).toBeGreaterThan(80)
    for (const { name, cells } of ROWS) expect(cells["here"], name).toMatch(/\w/)
  })

  test("the table of the goals has a row for each of their switches", () => {
    expect(readRows(GOALS).length).toBeGreaterThan(30)
    const named = readRows(GOALS)
      .map(({ cells }) => cells["here"])
      .join(" ")
    for (const name of Object.keys(DEFAULT_GOAL_POLICY).filter((name) => name !== "backoffMaxMs")) expect(named, name).toContain(`\`${name}\``)
  })
})

describe("the figures of the judge are the defaults", () => {
  const [reference, ours] = [checklistSettings({ model: "m", compat: "reference" }), checklistSettings({ model: "m" })]
  const settingOf = (settings: typeof ours, name: string): unknown => {
    const call = { "for the list": "decompose", "for items": "evaluate", "without a list": "freeform" }[name.replace(/^`\w+` ?/, "")]
    const value = settings[(names(name)[0] ?? "") as keyof typeof ours]
    return call === undefined ? value : (value as Readonly<Record<string, number>>)[call]
  }
  test.each(rowsOf("figures: judge"))("$name", ({ name, cells }) => {
    expect([settingOf(reference, name), settingOf(ours, name)].map(String)).toEqual([cells["`goals.py`"], cells["here"]])
  })
})

const TOOL = { name: "look", description: "Looks.", inputSchema: {} }
const chat = (): TurnMachine => {
  const machine = new Machine(configOf({ driver: chatDriver(), tools: [TOOL] }), {
    messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "hi" }] }],
  })
  pollAll(machine)
  return machine
}
const call = (inputJson: string, toolName = "look"): OutputPart => ({ type: "tool_call", callId: "a", toolName, inputJson })
const lastParts = (machine: TurnMachine): readonly string[] => machine.messages.at(-1)?.parts.map(({ type }) => type) ?? []
const codeOf = (act: () => unknown): unknown => {
  try {
    return act()
  } catch (error) {
    return (error as { readonly code?: string }).code
  }
}

const JUDGE: ChecklistPolicy = { model: "m" }
function judged(policy: ChecklistPolicy, response: Pick<LlmResponse, "text" | "parts">) {
  let state = manageChecklist(policy, newChecklistState(), { type: "set", goal: "g", at: 0 }).state
  if (policy.judge !== "freeform") state = manageChecklist(policy, state, { type: "add_item", text: "i", at: 0 }).state
  if (state.goal !== undefined) state = { ...state, goal: { ...state.goal, decomposed: true } }
  const judge = new ChecklistJudge(policy, state, { response: "r", at: 0 })
  const id = judge.poll()?.id ?? 0
  judge.handle(answer(id, response.parts, { text: response.text }))
  if (judge.judgement === undefined) throw new Error("no judgement")
  const { state: after, decision } = applyJudgement(policy, state, judge.judgement, 0)
  return { verdict: decision.verdict, failures: after.goal?.consecutiveParseFailures, prompt: decision.continuationPrompt }
}
const update = (args: Json | string): Pick<LlmResponse, "text" | "parts"> => ({
  text: "",
  parts: [{ type: "tool_call", callId: "c", toolName: "update_checklist", inputJson: typeof args === "string" ? args : JSON.stringify(args) }],
})
const text = (said: string): Pick<LlmResponse, "text" | "parts"> => ({ text: said, parts: [{ type: "text", text: said }] })

/** What the rows marked ✓ state, by their names. */
const CHECKS: Readonly<Record<string, () => void>> = {
  "final answer"() {
    const machine = chat()
    const effects = respond(machine, says(1, "done"))
    expect(effects.at(-1)).toMatchObject({ type: "checkpoint", checkpoint: "before_completion" })
    expect(machine.messages.at(-1)).toMatchObject({ role: "assistant", parts: [{ text: "done" }] })
  },
  "message ids"() {
    const machine = chat()
    respond(machine, says(1, "done"))
    expect(machine.messages.at(-1)?.id).toMatch(/^m_0_assistant_\d+$/)
  },
  "a list of actions without a way forward"() {
    const machine = startedWith([])
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error" } })
  },
  "stale and unexpected responses"() {
    const machine = chat()
    respond(machine, says(1, "done"))
    expect(machine.handle(says(1, "done"))).toEqual({ status: "stale" })
    expect(codeOf(() => machine.handle(says(2, "done")))).toBe("unexpected_response")
    expect(codeOf(() => machine.handle(says(9, "done")))).toBe("unknown_effect")
  },
  "a stale response after a restore"() {
    const machine = chat()
    respond(machine, says(1, "done"))
    const restored = moved(machine, configOf({ driver: chatDriver(), tools: [TOOL] }))
    expect(restored.handle(says(1, "done"))).toEqual({ status: "stale" })
    expect(restored.poll()).toMatchObject({ type: "checkpoint", id: 2 })
  },
  "finishing twice"() {
    const machine = chat()
    machine.cancel()
    pollAll(machine)
    machine.cancel()
    expect(pollAll(machine)).toEqual([])
  },
  "results of tools"() {
    const machine = chat()
    respond(machine, callsTools(1, ["a", "b"]))
    expect(respond(machine, results(2, completed("b"))).filter(({ type }) => type !== "emit")).toEqual([])
    expect(codeOf(() => machine.handle(results(2, completed("x"))))).toBe("unknown_call")
    respond(machine, results(2, completed("a")))
    expect(machine.messages.at(-1)?.parts.map((part) => "callId" in part && part.callId)).toEqual(["a", "b"])
  },
  "messages after the end"() {
    const machine = chat()
    respond(machine, says(1, "done"))
    const done = respond(machine, delivers(2)).at(-1)
    expect(done).toMatchObject({ type: "done", outcome: { type: "finished" } })
    expect(machine.messages).toHaveLength(2)
  },
  "a cancellation cleans up"() {
    const machine = chat()
    machine.cancel()
    expect(pollAll(machine).map(({ type }) => type)).toContain("cancel_llm")
    const open = chat()
    respond(open, callsTools(1, ["a"]))
    open.cancel()
    expect(lastParts(open)).toEqual(["tool_result"])
  },
  checkpoints() {
    expect(chat().checkpoint()).toMatchObject({ format: "turn-machine/checkpoint", version: 2, driver: { name: "chat", version: 1 } })
  },
  "two pieces of work in one list"() {
    const start = { type: "start_llm", request: REQUEST } as const
    expect(startedWith([start, start]).outcome).toMatchObject({ stop: { type: "runtime_error" } })
  },
  "answers that are cut off"() {
    const machine = chat()
    respond(machine, says(1, "half a sent", { terminalReason: "output_limit" }))
    expect(lastParts(machine)).toEqual(["text", "interrupted"])
  },
  "cancelled and failed calls"() {
    const machine = chat()
    const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
    machine.cancel(undefined, { ...text("half"), usage, terminalReason: "cancelled" })
    expect(lastParts(machine)).toEqual(["text", "interrupted"])
    expect(machine.usage.outputTokens).toBe(1)
  },
  "reasons of an end"() {
    const machine = chat()
    respond(machine, says(1, "", { terminalReason: "refusal", terminalDiagnostic: "No." }))
    expect(machine.outcome).toMatchObject({ stop: { error: { userMessage: "No.", code: "refusal" } } })
  },
  "settled calls"() {
    const machine = startedWith([{ type: "start_tools", calls: [pending("a"), pending("b")], settled: [completed("a")] }])
    expect(machine.outstanding).toMatchObject({ type: "tool_calls", calls: [{ callId: "b" }] })
  },
  "token usage"() {
    const machine = chat()
    const usage = { inputTokens: 9, cachedInputTokens: 0, cacheWriteTokens: 4, outputTokens: 1, reasoningTokens: 0 }
    respond(machine, says(1, "done", { usage, retriedUsage: usage }))
    expect(machine.usage).toMatchObject({ inputTokens: 18, cacheWriteTokens: 8, outputTokens: 2 })
  },
  "key order of results"() {
    const machine = chat()
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", { z: 1, a: 2 })))
    expect(machine.messages.at(-1)?.parts[0]).toMatchObject({ text: '{"z":1,"a":2}' })
  },
  "order and text of an answer"() {
    const machine = chat()
    respond(machine, answer(1, [{ type: "text", text: " a\n" }, call("{}"), { type: "text", text: "b " }], { terminalReason: "tool_use" }))
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ text: " a\n" }, { type: "tool_call" }, { text: "b " }])
  },
  "parts of one provider"() {
    const producer = { provider: "p", api: "x", model: "m" }
    const machine = chat()
    const parts: OutputPart[] = [
      { type: "opaque", provider: "p", kind: "k", data: { a: 1 } },
      { type: "text", text: "t", providerMetadata: { signature: "s" } },
    ]
    respond(machine, answer(1, parts, { text: "t", producer }))
    expect(machine.messages.at(-1)).toMatchObject({ producer, parts })
  },
  "broken arguments"() {
    const machine = chat()
    const effects = respond(machine, answer(1, [call('{"a": ')], { terminalReason: "tool_use" }))
    expect(effects.map(({ type }) => type)).not.toContain("tool_calls")
    expect(machine.messages.at(-2)?.parts).toMatchObject([{ type: "tool_call", inputJson: '{"a": ' }])
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ type: "tool_result", isError: true }])
  },
  "tools that were not offered"() {
    const machine = chat()
    expect(respond(machine, answer(1, [call("{}", "rm")], { terminalReason: "tool_use" })).map(({ type }) => type)).not.toContain("tool_calls")
  },
  "failed results"() {
    const machine = chat()
    respond(machine, callsTools(1, ["a"]))
    const failure = { class: "invalid_request", code: "c", message: "m", source: "tool", retry: { type: "never" } } as const
    respond(machine, results(2, completed("a", null, { output: { status: "failure", failure } })))
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ type: "tool_result", isError: true }])
  },
  "JSON in a text"() {
    const said = '<think>{"verdict": "continue"}</think> {"verdict": "continue"} {"verdict": "done"}'
    expect(judged({ ...JUDGE, judge: "freeform" }, text(said)).verdict).toBe("done")
  },
  "lists and words"() {
    const args = { updates: JSON.stringify([{ index: "1", status: "done" }]), new_items: [], reason: "r" }
    expect(judged(JUDGE, update(args)).verdict).toBe("done")
    expect(judged({ ...JUDGE, compat: "reference" }, update(args))).toMatchObject({ verdict: "continue", failures: 0 })
  },
  "what cannot be read"() {
    expect(judged(JUDGE, update({ updates: [{ index: 1, status: "?" }] })).failures).toBe(1)
  },
  "broken arguments of a call"() {
    expect(judged(JUDGE, update('{"updates": [')).failures).toBe(1)
    expect(judged({ ...JUDGE, compat: "reference" }, update('{"updates": [')).failures).toBe(0)
  },
  "the judge's reason"() {
    const { prompt } = judged(JUDGE, update({ updates: [], new_items: [], reason: "Show the output." }))
    expect(prompt).toContain("Show the output.")
    expect(continuationPrompt(undefined)).toBeUndefined()
  },
}

describe("rows marked ✓", () => {
  const marked = ROWS.filter(({ name }) => name.endsWith("✓")).map(({ name }) => name.replace(/ ✓$/, ""))

  test("are the checked ones", () => expect([...marked].sort()).toEqual(Object.keys(CHECKS).sort()))

  test.each(Object.entries(CHECKS))("%s", (_, check) => check())
})
