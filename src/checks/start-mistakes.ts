import { shortened } from "../text.ts"
import { unknownKey } from "../unknown-key.ts"
import type { TurnStart } from "../wire/config.ts"
import { isObject } from "./config-mistakes.ts"

/** Describes a common mistake in a turn's start for which the schema's own message does not say what to do. */
export function startMistake(start: unknown): string | undefined {
  try {
    if (start === undefined || start === null) return 'A turn needs a start: new TurnMachine(config, { messages: [userMessage("…")] }).'
    const { messages } = start as { readonly messages?: unknown }
    return Array.isArray(messages) ? contentMistake(messages) : undefined
  } catch {
    // A proxy or a getter may throw; the schema reports that.
    return undefined
  }
}

const KEYS = ["messages", "events", "turnCauses", "iterationOffset", "surfaceChanged", "deadlineAt"] as const satisfies readonly (keyof TurnStart)[]

/** Describes the first unknown key of a start, which would be ignored: a turn with `deadline` would have none. */
export function unknownStartKey(start: object): string | undefined {
  const unknown = unknownKey(start, KEYS)
  if (unknown === undefined) return undefined
  const { key, hint = `the keys are ${KEYS.join(", ")}.` } = unknown
  return `Not a valid start of a turn: it has the unknown key ${JSON.stringify(shortened(key))}; ${hint}`
}

/** Model APIs put a message's text in `content`. */
function contentMistake(messages: readonly unknown[]): string | undefined {
  const index = messages.findIndex((message) => isObject(message) && message["content"] !== undefined && message["parts"] === undefined)
  const message = messages[index]
  if (!isObject(message)) return undefined
  const text = JSON.stringify(typeof message["content"] === "string" ? shortened(message["content"]) : "…")
  return message["role"] === "user"
    ? `Not a valid start of a turn: message ${index} has \`content\`; make it with userMessage(${text}).`
    : `Not a valid start of a turn: message ${index} has \`content\`; its text belongs in parts: [{ id: "p0", type: "text", text: ${text} }].`
}
