import { chatDriver } from "../../src/drivers/chat.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { Recorder, type RecorderOptions } from "../../src/replay/recorder.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { AnswerableEffect } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { ViewedTurn } from "../../src/viewer/data.ts"
import { viewedEntries } from "../../src/viewer/model/journal.ts"

/** When the recorded turns begin. */
export const BEGAN = Date.UTC(2026, 10, 27, 9, 0, 0)

export const CONFIG: TurnConfig = {
  model: "m-1",
  systemPrompt: "You look things up.",
  tools: [
    { name: "look", description: "Looks.", inputSchema: { type: "object" } },
    { name: "note", description: "Notes.", inputSchema: { type: "object" } },
  ],
  driver: chatDriver(),
  projector: chatProjector,
}

export const START: TurnStart = { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Look at everything." }] }] }

/** What a recorded model and its tools answer. */
export interface Script {
  /** Iterations that call two tools, before the one that answers. */
  readonly iterations: number
  /** The text of an iteration's answer. */
  readonly text?: (iteration: number) => string
  /** The value that a tool returns. */
  readonly value?: (iteration: number) => string
  /** The name of the first tool of an iteration. */
  readonly tool?: string
}

/** Runs a turn with two parallel tools in each iteration, and returns the text of its journal. Model calls take 900 ms, tools 300. */
export function recorded(script: Script, config: TurnConfig = CONFIG, options: RecorderOptions = {}, turnId = "turn-1"): string {
  const machine = new TurnMachine(config, START)
  const { recorder, line } = Recorder.begin(config, START, turnId, { ...options, at: BEGAN })
  let text = line
  let at = BEGAN
  for (;;) {
    while (machine.poll() !== undefined);
    text += recorder.snapshotIfDue(machine)
    const effect = machine.outstanding
    if (effect === undefined) return text + recorder.end(machine)
    at += effect.type === "llm_call" ? 900 : effect.type === "tool_calls" ? 300 : 5
    const response = answered(effect, script, machine.iteration, at)
    text += recorder.response(machine, response)
    machine.handle(response)
  }
}

function answered(effect: AnswerableEffect, script: Script, iteration: number, at: number): Response {
  const { id } = effect
  const { iterations, text = (count) => `Answer ${count}.`, value = (count) => `Value ${count}.`, tool = "look" } = script
  switch (effect.type) {
    case "llm_call": {
      const isLast = iteration >= iterations
      const said = { type: "text", text: text(iteration) } as const
      const calls = [tool, "note"].map(
        (toolName, place) => ({ type: "tool_call", callId: `c${iteration}-${place}`, toolName, inputJson: `{"n":${iteration}}` }) as const,
      )
      const usage = { inputTokens: 40, cachedInputTokens: 100 + 60 * iteration, outputTokens: 20, reasoningTokens: 5 }
      const response = {
        text: said.text,
        parts: isLast ? [said] : [said, ...calls],
        usage,
        durationMs: 900,
        terminalReason: isLast ? "stop" : "tool_use",
      } as const
      return { type: "llm_complete", id, at, result: { ok: true, response } }
    }
    case "tool_calls":
      return {
        type: "tool_results",
        id,
        at,
        results: effect.calls.map((call) => ({ ...call, output: { status: "success", value: value(iteration) }, durationMs: 300 })),
      }
    default:
      return { type: "checkpoint_delivery", id, at, delivery: {} }
  }
}

/** A journal as a page has it, without what the page needs to replay it. */
export function viewed(text: string, file = "run.json"): ViewedTurn {
  const { header, entries } = readJournal(text)
  return { file, word: file, header, headerBytes: 100, entries: viewedEntries(entries, []) }
}

/** The page's configuration of the recorded turns. */
export const AGENT: NonNullable<ViewedTurn["agent"]> = {
  driver: "chat",
  projector: "chat",
  data: { model: "m-1", systemPrompt: "You look things up.", tools: CONFIG.tools },
}
