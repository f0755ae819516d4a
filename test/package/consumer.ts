/** A program of a user, which imports from every subpath. It must compile. */
export const CONSUMER = `
import { type Effect, type Json, TurnMachine, chatDriver, chatProjector, type TurnConfig, type TurnStart } from "turn-machine"
import { assistantParts } from "turn-machine/drivers"
import { ChecklistJudge, type Decision, type JudgeConfig, newChecklistState } from "turn-machine/drivers/checklist"
import { goalDriver, type GoalState, newGoalState, nextTurn } from "turn-machine/drivers/goal"
import { type Host, runJudge, runTurn } from "turn-machine/hosts"
import { type OpenTelemetry, openTelemetry } from "turn-machine/hosts/opentelemetry"
import { type Turn, TurnMachine as BareTurnMachine, begin } from "turn-machine/machine"
import type { Projector } from "turn-machine/projectors"
import { type Journal, readJournal } from "turn-machine/replay"
import { journalValidation, type Judgement, judgeValidation, Response } from "turn-machine/schemas"
import { expectTurn } from "turn-machine/testing"
import * as arbitrary from "turn-machine/testing/arbitraries"

const projector: Projector = chatProjector
const config: TurnConfig = {
  model: "any", sessionId: "s", systemPrompt: "", tools: [], generation: {}, driver: chatDriver(), projector,
  syncExecutionSurface: false,  emitLlmTrace: false,
}
const start: TurnStart = { messages: [{ id: "m1", role: "user", parts: [{ id: "m1.p0", type: "text", text: "Hello" }] }] }
const machine: BareTurnMachine = new TurnMachine(config, start)
const goals: GoalState = newGoalState("t")
const resting: string = nextTurn({ threadId: goals.threadId, history: machine.history }, 0).type
const pursuing: TurnConfig = { ...config, driver: goalDriver(chatDriver(), { threadId: "t", turnId: resting, startedAt: 0 }) }
const effect: Effect | undefined = machine.poll()
if (effect?.type === "llm_call") {
  const model: string = effect.request.model
  // @ts-expect-error the types are found: a model is not a number
  const wrong: number = effect.request.model
  console.log(model, wrong)
}
const answer: Response = Response.parse({ type: "checkpoint_delivery", id: 1, delivery: {} })
const value: Json = { answer: machine.handle(answer).status }
const { turn }: { readonly turn: Turn } = begin(config, start)
const host: Host = { llmCall: async () => { throw new Error("no model") } }
const journal: (text: string) => Journal = (text) => readJournal(text, journalValidation)
const judgeConfig: JudgeConfig = { model: "any", validation: judgeValidation }
const judgement: Promise<Judgement | undefined> = runJudge(new ChecklistJudge(judgeConfig, newChecklistState(), { response: "", at: 0 }), host)
const traced: OpenTelemetry["runTurn"] = openTelemetry({ provider: "openai" }).runTurn
export const verdict: Decision["verdict"] = "wait"
export const all = [pursuing, judgement, journal, value, turn, runTurn(machine, host), traced(machine, host), assistantParts, expectTurn, arbitrary.message]
`
