import type { ContentBlock } from "@agentclientprotocol/sdk"
import type { GoalCommand } from "turn-machine/schemas"

/** Reads `/goal …` of a prompt. `undefined`: the prompt is not this command. */
export function goalCommand(blocks: readonly ContentBlock[]): Extract<GoalCommand, { type: "start" | "resume" | "pause" | "clear" }> | undefined {
  const [block] = blocks
  if (block?.type !== "text") return undefined
  const [, text] = /^\s*\/goal\b([\s\S]*)$/.exec(block.text) ?? []
  if (text === undefined) return undefined
  const objective = text.trim()
  if (objective === "resume" || objective === "pause" || objective === "clear") return { type: objective }
  return { type: "start", objective }
}
