import { judgeValidation } from "../../../src/checks/judge.ts"
import {
  type Applied,
  applyJudgement,
  ChecklistJudge,
  type JudgeConfig,
  manageChecklist,
  newChecklistState,
} from "../../../src/drivers/checklist/index.ts"
import type { ChecklistCommand, ChecklistGoal, ChecklistState, JudgedTurn } from "../../../src/schemas/checklist.ts"
import type { LlmFailure, LlmRequest, OutputPart, TerminalReason } from "../../../src/schemas/llm.ts"
import type { LlmComplete } from "../../../src/schemas/response.ts"

export const CONFIG: JudgeConfig = { model: "judge", validation: judgeValidation }
export const AT = 1_700_000_000_000
/** Code that mutation testing has changed is many times slower, and says nothing about how long a text takes. */
export const IS_SLOWED: boolean = process.env["MUTATION_TESTS"] !== undefined

/** A reply of the judge's model: a text, a call, or a failure. */
export type Reply = string | { readonly tool: string; readonly args: unknown } | ({ readonly fails: string } & Partial<LlmFailure>)

export const list = (...items: string[]): Reply => ({ tool: "submit_checklist", args: { items: items.map((text) => ({ text })) } })
export const rules = (updates: readonly unknown[], more: object = {}): Reply => ({
  tool: "update_checklist",
  args: { updates, new_items: [], reason: "r", ...more },
})
export const completes = (...indexes: number[]): Reply => rules(indexes.map((index) => ({ index, status: "completed", evidence: `saw ${index}` })))
export const reads = (args: object): Reply => ({ tool: "read_history", args })

const USAGE = { inputTokens: 10, cachedInputTokens: 1, outputTokens: 5, reasoningTokens: 2 }

export function answerOf(id: number, reply: Reply, terminalReason?: TerminalReason): LlmComplete {
  if (typeof reply === "object" && "fails" in reply) {
    const { fails: message, ...facts } = reply
    return { type: "llm_complete", id, result: { ok: false, error: { message, retryable: false, terminalReason: "provider_error", ...facts } } }
  }
  const part: OutputPart =
    typeof reply === "string"
      ? { type: "text", text: reply }
      : {
          type: "tool_call",
          callId: `c${id}`,
          toolName: reply.tool,
          inputJson: typeof reply.args === "string" ? reply.args : JSON.stringify(reply.args),
        }
  return answerParts(id, [part], terminalReason)
}

export function answerParts(id: number, parts: readonly OutputPart[], terminalReason: TerminalReason = "stop"): LlmComplete {
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  return { type: "llm_complete", id, result: { ok: true, response: { text, parts, usage: USAGE, terminalReason } } }
}

export interface Played extends Applied {
  readonly requests: readonly LlmRequest[]
  readonly judge: ChecklistJudge
}

/** Judges one turn with these replies, and applies the judgement. */
export function play(state: ChecklistState, replies: readonly Reply[], turn: Partial<JudgedTurn> = {}, config: JudgeConfig = CONFIG): Played {
  const whole: JudgedTurn = { response: "I worked.", at: AT, ...turn }
  const judge = new ChecklistJudge(config, state, whole)
  const requests: LlmRequest[] = []
  for (let call = judge.poll(); call !== undefined; call = judge.poll()) {
    const reply = replies[requests.length]
    if (reply === undefined) throw new Error(`The judge asks ${requests.length + 1} times, and there are ${replies.length} replies.`)
    requests.push(call.request)
    judge.handle(answerOf(call.id, reply))
  }
  if (requests.length < replies.length) throw new Error(`The judge asks only ${requests.length} times.`)
  if (judge.judgement === undefined) throw new Error("The judge neither asks nor ends.")
  return { ...applyJudgement(config, state, judge.judgement, whole.at), requests, judge }
}

/** Applies commands, each of which must succeed. */
export function manage(state: ChecklistState, commands: readonly CommandWithoutTime[], config: JudgeConfig = CONFIG): ChecklistState {
  return commands.reduce((before, command) => {
    const managed = manageChecklist(config, before, { at: AT, ...command } as ChecklistCommand)
    if (!managed.ok) throw new Error(managed.message)
    return managed.state
  }, state)
}
type CommandWithoutTime = ChecklistCommand extends infer Command ? (Command extends { at: number } ? Omit<Command, "at"> : never) : never

/** A goal with this list, written by the judge. */
export function listed(items: readonly string[], config: JudgeConfig = CONFIG, maxTurns = 20): ChecklistState {
  const state = manage(newChecklistState(), [{ type: "set", goal: "ship it", maxTurns }], config)
  return play(state, [list(...items)], {}, config).state
}

export function goalOf({ goal }: ChecklistState): ChecklistGoal {
  if (goal === undefined) throw new Error("There is no goal.")
  return goal
}

/** `text:status` of each item. */
export function itemsOf(state: ChecklistState): readonly string[] {
  return goalOf(state).checklist.map((item) => `${item.text}:${item.status}`)
}
