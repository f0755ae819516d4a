import { parseJson } from "../../json.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import type { Written } from "../workspace/out-folder.ts"

/** What a turn took so far, in all processes that ran it: it is read from the turn itself. */
export interface Tally {
  readonly iterations: number
  readonly modelCalls: number
  readonly toolCalls: number
  readonly usage: TokenUsage
  /** Files written, from the output folder, in the order in which they were first written. */
  readonly files: readonly string[]
}

export function tallyOf(machine: TurnMachine): Tally {
  const files = new Set<string>()
  let modelCalls = 0
  let toolCalls = 0
  for (const { role, parts } of machine.messages) {
    if (role === "assistant") modelCalls += 1
    for (const part of parts) {
      if (part.type !== "tool_result") continue
      toolCalls += 1
      const value = part.toolName === "write_file" ? parseJson(part.text) : undefined
      if (typeof value === "object" && value !== null) files.add((value as unknown as Written).path)
    }
  }
  // Iterations count from 0, and a turn that reached its limit stands at the one it may not have.
  const { outcome, iteration } = machine
  const atLimit = outcome?.type === "stopped" && outcome.stop.type === "max_iterations"
  return { iterations: atLimit ? iteration : iteration + 1, modelCalls, toolCalls, usage: machine.usage, files: [...files] }
}
