import { expect } from "vitest"
import { judgeValidation } from "../../src/checks/judge.ts"
import {
  allTerminal,
  applyJudgement,
  ChecklistJudge,
  continuationPrompt,
  countItems,
  type Decision,
  evidenceText,
  hasGoal,
  isActive,
  manageChecklist,
  newChecklistState,
  renderChecklist,
  restoreChecklist,
  statusLine,
} from "../../src/drivers/checklist/index.ts"
import { checklistSettings } from "../../src/drivers/checklist/settings.ts"
import { readFreeformText, readItemsText, readVerdictText } from "../../src/drivers/checklist/verdict.ts"
import type {
  ChecklistCommand,
  ChecklistGoal,
  ChecklistItem,
  ChecklistPolicy,
  ChecklistState,
  JudgeReason,
  PauseReason,
} from "../../src/schemas/checklist.ts"
import type { Json } from "../../src/schemas/json.ts"
import type { Block, LlmRequest } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import type { LlmComplete } from "../../src/schemas/response.ts"
import { expectSame, runSuite, type Scenario } from "./suite.ts"

interface ChecklistScenario extends Scenario {
  readonly about: string
  readonly compat: "reference"
  readonly defaultMaxTurns?: number
  readonly start?: StartGoal
  readonly steps: readonly Step[]
}

/** A text, or the kind of a text whose wording each implementation chooses. */
type Worded = string | { readonly kind: string; readonly [fact: string]: Json }
interface ShownItem {
  readonly status: string
  readonly text: string
  readonly evidence?: Worded
}
type StartGoal = Partial<Omit<ChecklistGoal, "checklist" | "lastReason" | "pausedReason">> & {
  readonly goal: string
  readonly checklist?: readonly (Omit<ChecklistItem, "evidence" | "id"> & { readonly evidence?: Worded })[]
  readonly lastReason?: Worded
  readonly pausedReason?: Worded
}
interface Reply {
  readonly text?: string
  readonly toolCalls?: readonly { readonly callId: string; readonly toolName: string; readonly inputJson: string }[]
  readonly error?: { readonly message: string; readonly code: string }
}
interface Expected {
  readonly result?: Json
  readonly state?: Json
  readonly error?: { readonly kind: string }
  readonly decision?: { readonly continuationPrompt?: Json; readonly [key: string]: Json | undefined }
  readonly judgeRequests?: Json
}
interface Step {
  readonly do: string
  readonly now: number
  readonly expect: Expected
  readonly judge?: readonly Reply[]
  readonly history?: readonly Message[]
  readonly [input: string]: unknown
}

const HISTORY_ID = "transcript-1"

runSuite<ChecklistScenario>("checklist", (scenario) => {
  const { defaultMaxTurns } = scenario
  const policy: ChecklistPolicy = { model: "judge", compat: scenario.compat, ...(defaultMaxTurns !== undefined && { defaultMaxTurns }) }
  let state = scenario.start === undefined ? newChecklistState() : startState(scenario.start)

  scenario.steps.forEach((step, index) => {
    const where = `step ${index} (${step.do})`
    const before = JSON.stringify(state)
    const taken = take(policy, state, step, where)
    state = taken.state
    expectSame(shownState(state), step.expect.state, `${where}: state`)
    if (step.expect.error !== undefined) {
      expect(taken.refused, `${where}: refusal`).toMatch(REFUSALS.find(([, known]) => known.test(step.expect.error?.kind ?? ""))?.[0] ?? /^$/)
      expect(JSON.stringify(state), `${where}: a refused command changes nothing`).toBe(before)
    } else expect(taken.refused, `${where}: refusal`).toBeUndefined()
    expectSame(taken.result, step.expect.result, `${where}: result`)
  })
})

/** The codes of refusals, and their names in scenarios. The README fixes only the first of these names. */
const REFUSALS: readonly (readonly [ours: RegExp, theirs: RegExp])[] = [
  [/^empty_goal$/, /(?=.*(?:empty|blank))(?=.*goal)(?!.*subgoal)/],
  [/^empty_item$/, /empty|blank/],
  [/^unknown_status$/, /status/],
  [/^index_out_of_range$/, /range/],
  [/^invalid_index$/, /index|integer|number/],
  [/^no_goal$/, /goal/],
]

interface Taken {
  readonly state: ChecklistState
  readonly result?: unknown
  readonly refused?: string
}

function take(policy: ChecklistPolicy, state: ChecklistState, step: Step, where: string): Taken {
  switch (step.do) {
    case "turn":
      return takeTurn(policy, state, step, where)
    case "reload":
      return { state: restoreChecklist(policy, JSON.stringify(state), judgeValidation) }
    case "status":
      return { state, result: checkStatus(state, step.expect.result, where) }
    case "render":
      return { state, result: checkRender(state, step.expect.result, where) }
    case "next_prompt":
      return { state, result: checkPrompt(state, continuationPrompt(state.goal), step.expect.result, where) }
    case "flags": {
      const items = state.goal?.checklist
      const facts = items === undefined ? {} : { counts: countItems(items), allTerminal: allTerminal(items) }
      return { state, result: { isActive: isActive(state), hasGoal: hasGoal(state), ...facts } }
    }
    case "parse":
      return { state, result: parse(policy, step["kind"] as string, step["raw"] as string) }
    default: {
      const managed = manageChecklist(policy, state, command(step))
      if (!managed.ok) return { state: managed.state, refused: managed.refused }
      return { state: managed.state, ...(managed.item !== undefined && { result: shownItem(managed.item) }) }
    }
  }
}

const COMMANDS: Readonly<Record<string, ChecklistCommand["type"]>> = {
  add_subgoal: "add_item",
  mark_subgoal: "mark_item",
  remove_subgoal: "remove_item",
}

function command({ do: name, now, expect: _expect, ...inputs }: Step): ChecklistCommand {
  const type = COMMANDS[name] ?? name
  const blank = { set: { goal: "" }, add_item: { text: "" }, mark_item: { status: "" }, mark_done: { reason: "" } }[type] ?? {}
  return { type, at: now, ...blank, ...inputs } as ChecklistCommand
}

function takeTurn(policy: ChecklistPolicy, state: ChecklistState, step: Step, where: string): Taken {
  const { history, now: at } = step
  const transcript = history === undefined ? undefined : { id: HISTORY_ID, messages: history }
  const config = { ...policy, validation: judgeValidation }
  let judge = new ChecklistJudge(config, state, { response: step["response"] as string, at, ...(transcript !== undefined && { transcript }) })
  const requests: LlmRequest[] = []
  const replies = [...(step.judge ?? [])]
  for (let call = judge.poll(); call !== undefined; call = judge.poll()) {
    requests.push(call.request)
    // Every call is also interrupted: saved, restored, and returned again.
    judge = ChecklistJudge.restore(config, JSON.stringify(judge.checkpoint()))
    expectSame(judge.poll(), call, `${where}: the call handed out again`)
    const reply = replies.shift()
    if (reply === undefined) throw new Error(`${where}: the judge asks once more than the scenario answers`)
    judge.handle(answer(call.id, reply))
  }
  expect(replies.length, `${where}: replies not asked for`).toBe(0)
  const { judgement } = ChecklistJudge.restore(config, JSON.stringify(judge.checkpoint()))
  if (judgement === undefined) throw new Error(`${where}: the judge neither asks nor ends`)
  const applied = applyJudgement(policy, state, JSON.parse(JSON.stringify(judgement)), at)
  expectSame(applyJudgement(policy, applied.state, judgement, at).state, applied.state, `${where}: a judgement applied twice changes the state: it`)
  expectSame(requests.map(shownRequest), step.expect.judgeRequests, `${where}: requests`)
  const { continuationPrompt: prompt, ...decision } = step.expect.decision ?? {}
  expectSame(shownDecision(applied.decision), decision, `${where}: decision`)
  expectSame(checkPrompt(applied.state, applied.decision.continuationPrompt, prompt, where), prompt, `${where}: prompt`)
  return { state: applied.state }
}

function answer(id: number, { text, toolCalls = [], error }: Reply): LlmComplete {
  if (error !== undefined) {
    return { type: "llm_complete", id, result: { ok: false, error: { ...error, retryable: false, terminalReason: "provider_error" } } }
  }
  const said = text === undefined ? [] : [{ type: "text", text } as const]
  const calls = toolCalls.map((call) => ({ type: "tool_call", ...call, inputJson: call.inputJson.replaceAll("$HISTORY", HISTORY_ID) }) as const)
  const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const terminalReason = calls.length > 0 ? "tool_use" : "stop"
  return { type: "llm_complete", id, result: { ok: true, response: { text: text ?? "", parts: [...said, ...calls], usage, terminalReason } } }
}

function shownRequest({ messages, tools, toolChoice, generation }: LlmRequest): Json {
  const cuts = messages.slice(0, 2).flatMap(
    ({ blocks }) =>
      texts(blocks)
        .join("")
        .match(/… \[\d+ chars omitted\]/g) ?? [],
  ).length
  return {
    messages: messages.map(({ role, blocks }, index) => {
      const text = texts(blocks).join("")
      const toolCalls = blocks.flatMap((block) => (block.type === "tool_call" ? [{ callId: block.callId, toolName: block.toolName }] : []))
      const toolResults = blocks.flatMap((block) => (block.type === "tool_result" ? [block.callId] : []))
      return {
        role,
        ...(index > 1 && text !== "" && { text }),
        ...(toolCalls.length > 0 && { toolCalls }),
        ...(toolResults.length > 0 && { toolResults }),
      }
    }),
    tools: tools.map(({ name }) => name),
    toolChoice,
    ...(generation.maxOutputTokens !== undefined && { maxOutputTokens: generation.maxOutputTokens }),
    ...(cuts > 0 && { cuts }),
  }
}

function texts(blocks: readonly Block[]): readonly string[] {
  return blocks.flatMap((block) => (block.type === "text" ? [block.text] : []))
}

function shownDecision({ status, shouldContinue, verdict, reason, notice }: Decision): Json {
  return {
    ...(status !== undefined && { status }),
    shouldContinue,
    verdict,
    reason: shownReason(reason as JudgeReason),
    ...(notice !== undefined && { message: shownNotice(notice) }),
  }
}

function shownNotice(notice: NonNullable<Decision["notice"]>): Json {
  if (notice.type === "paused") return { kind: `paused_${notice.reason.type}` }
  if (notice.type !== "continuing") return { kind: notice.type }
  const { turnsUsed, maxTurns, settled, items } = notice
  return { kind: "continuing", turns: [turnsUsed, maxTurns], ...(settled !== undefined && items !== undefined && { progress: [settled, items] }) }
}

function shownReason(reason: JudgeReason): Json {
  if (reason.type === "text") return reason.text
  if (reason.type === "decomposed") return { kind: "decomposed", items: reason.items }
  return { kind: reason.type, ...(reason.type === "judge_error" && reason.code !== undefined && { code: reason.code }) }
}

function shownPause(reason: PauseReason): Json {
  if (reason.type === "text") return reason.text
  if (reason.type === "budget") return { kind: "budget", turns: [reason.turnsUsed, reason.maxTurns] }
  const { type, ...facts } = reason
  return { kind: type, ...facts }
}

function shownItem({ id: _id, evidence, ...item }: ChecklistItem): Json {
  return { ...item, ...(evidence !== undefined && { evidence: evidence.type === "text" ? evidence.text : { kind: evidence.type } }) }
}

function shownState({ goal }: ChecklistState): Json | undefined {
  if (goal === undefined) return undefined
  const { goalId: _id, revision: _revision, nextItemNumber: _next, consecutiveTransportFailures: _failures, stalledTurns: _stalled, ...shown } = goal
  const { lastReason, pausedReason, checklist, ...rest } = shown
  return {
    ...rest,
    ...(lastReason !== undefined && { lastReason: shownReason(lastReason) }),
    ...(pausedReason !== undefined && { pausedReason: shownPause(pausedReason) }),
    checklist: checklist.map(shownItem),
  }
}

function startState({ checklist = [], lastReason, pausedReason, ...given }: StartGoal): ChecklistState {
  const said = (worded: Worded): Json => {
    if (typeof worded === "string") return { type: "text", text: worded }
    const { kind, turns, ...facts } = worded
    const budget = Array.isArray(turns) ? { turnsUsed: turns[0], maxTurns: turns[1] } : {}
    return { type: kind, ...facts, ...budget, ...(kind === "judge_error" && { message: "" }), ...(kind === "not_json" && { text: "" }) }
  }
  const goal = {
    goalId: "g1",
    revision: 0,
    status: "active",
    turnsUsed: 0,
    maxTurns: 20,
    createdAt: 0,
    consecutiveParseFailures: 0,
    consecutiveTransportFailures: 0,
    stalledTurns: 0,
    decomposed: false,
    ...given,
    ...(lastReason !== undefined && { lastReason: said(lastReason) }),
    ...(pausedReason !== undefined && { pausedReason: said(pausedReason) }),
    nextItemNumber: checklist.length + 1,
    checklist: checklist.map(({ evidence, ...item }, index) => ({
      id: `i${index + 1}`,
      ...item,
      ...(evidence !== undefined && { evidence: said(evidence) }),
    })),
  }
  return judgeValidation.state({ nextGoalNumber: 2, goal })
}

// Texts are not parsed: the expected text is built here from the expected facts and compared.

function checkStatus(state: ChecklistState, expected: Json | undefined, where: string): Json | undefined {
  const facts = expected as { status: string; turns: number[]; progress?: number[]; pausedReason?: Worded; goal: string }
  const why = facts.pausedReason
  const worded = typeof why === "object" ? PAUSES[why.kind]?.(why) : why
  const items = facts.progress === undefined ? "" : `, ${facts.progress[0]}/${facts.progress[1]} items`
  const line =
    facts.status === "none"
      ? "No goal is set."
      : `Goal ${facts.status} (${facts.turns[0]}/${facts.turns[1]} turns${items}${worded ? `; ${worded}` : ""}): ${facts.goal}`
  expect(statusLine(state), `${where}: status line`).toBe(line)
  return expected
}

const PAUSES: Readonly<Record<string, (facts: { readonly [fact: string]: Json }) => string>> = {
  user: () => "by the user",
  unparseable: ({ failures }) => `${failures} answers of the judge in a row could not be read`,
  budget: ({ turns }) => `the turn budget is used up, ${(turns as readonly number[]).join("/")}`,
}

function checkRender(state: ChecklistState, expected: Json | undefined, where: string): Json | undefined {
  const { kind, items = [] } = expected as unknown as { kind: string; items?: readonly ShownItem[] }
  const text = {
    no_goal: "(no goal)",
    not_decomposed_yet: "(no items yet: the judge writes the list after the next turn)",
    items: items.map((item, index) => `${index + 1}. ${row(item)}`).join("\n"),
  }[kind]
  expect(renderChecklist(state), `${where}: rendering`).toBe(text)
  return expected
}

function checkPrompt(state: ChecklistState, prompt: string | undefined, expected: Json | undefined, where: string): Json | undefined {
  if (prompt === undefined) return undefined
  const { kind, done, total, items = [] } = (expected ?? {}) as { kind?: string; done?: number; total?: number; items?: readonly ShownItem[] }
  expect(prompt, `${where}: the goal's text`).toContain(`\nGoal: ${state.goal?.goal}\n`)
  const list = `\nCriteria (${done} of ${total} settled):\n${items.map((item) => `  ${row(item)}`).join("\n")}\n\n`
  if (kind === "checklist") expect(prompt, `${where}: the list`).toContain(list)
  else expect(prompt, `${where}: no list`).not.toContain("\nCriteria (")
  return kind === undefined ? prompt : expected
}

function row({ status, text, evidence }: ShownItem): string {
  const mark = { pending: "[ ]", completed: "[x]", impossible: "[!]" }[status]
  const why = typeof evidence === "object" ? evidenceText({ type: "user_mark" }) : evidence
  return `${mark} ${text.replace(/\s*\n\s*/g, " ")}${why ? ` (impossible: ${why})` : ""}`
}

function parse(policy: ChecklistPolicy, kind: string, raw: string): Json {
  const settings = checklistSettings(policy)
  if (kind === "decompose") {
    const read = readItemsText(raw, settings)
    return { items: read.ok ? read.value.map((text) => ({ text })) : [], parseFailed: !read.ok }
  }
  if (kind === "freeform") {
    const read = readFreeformText(raw, settings)
    if (!read.ok) return { done: false, reason: shownReason(read.reason), parseFailed: true }
    return { done: read.value.says === "done", reason: shownReason(read.value.reason), parseFailed: false }
  }
  const read = readVerdictText(raw, settings)
  if (!read.ok) return { updates: [], newItems: [], reason: shownReason(read.reason), parseFailed: true }
  const { updates, newItems, reason } = read.value
  return {
    updates: updates.map((update) => ({ ...update })),
    newItems: newItems.map((text) => ({ text })),
    reason: shownReason(reason),
    parseFailed: false,
  }
}
