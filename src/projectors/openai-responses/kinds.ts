import type { Json } from "../../json.ts"
import type { OpaqueBlock } from "../../wire/llm.ts"
import { isRecord, stringOf, textOf } from "../wires/values.ts"

/** Keys of a function call that go back with it, besides its id, name and arguments. */
export const CALL_KEYS = ["namespace", "caller", "async"] as const

/** Items that the client has to answer. Without their output in the same answer, where the provider ran them, they cannot be sent. */
const CLIENT_CALLS: ReadonlySet<string> = new Set([
  "computer_call",
  "local_shell_call",
  "shell_call",
  "apply_patch_call",
  "custom_tool_call",
  "tool_search_call",
  "mcp_approval_request",
])

/**
 * The items that an endpoint would refuse: calls without their output, and outputs without their call. An item without a `call_id` was
 * answered by the provider.
 * @see https://platform.openai.com/docs/api-reference/responses/create (2026-11): the items of `input`
 */
export function unanswered(blocks: readonly OpaqueBlock[]): ReadonlySet<OpaqueBlock> {
  const counts = new Map<string, number>()
  const callIdOf = ({ data }: OpaqueBlock): string => (isRecord(data) ? stringOf(data["call_id"]) : "")
  for (const block of blocks) {
    const key = `${block.kind} ${callIdOf(block)}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return new Set(
    blocks.filter((block) => {
      const { kind } = block
      const callId = callIdOf(block)
      if (callId === "") return CLIENT_CALLS.has(kind) && kind !== "tool_search_call"
      const call = kind.endsWith("_output") ? callOf(kind) : kind
      if (!CLIENT_CALLS.has(call)) return kind.endsWith("_output")
      return counts.get(`${call} ${callId}`) !== 1 || counts.get(`${outputOf(call)} ${callId}`) !== 1
    }),
  )
}

function callOf(output: string): string {
  return output === "tool_search_output" ? "tool_search_call" : output.slice(0, -"_output".length)
}

function outputOf(call: string): string {
  return call === "tool_search_call" ? "tool_search_output" : `${call}_output`
}

/** The mark of a refusal in the metadata of a text. */
export const REFUSAL: Json = { type: "refusal" }

export function isRefusal(metadata: Json | undefined): boolean {
  return isRecord(metadata) && metadata["type"] === "refusal"
}

const TEXT_LIMIT = 2_000

/** The text that stands for an item of the provider's own tools where another model reads it; `undefined` where it says nothing to one. */
export function standInText(item: Readonly<Record<string, unknown>>): string | undefined {
  const type = stringOf(item["type"])
  switch (type) {
    case "web_search_call": {
      const action = isRecord(item["action"]) ? item["action"] : {}
      const queries = Array.isArray(action["queries"]) ? (action["queries"] as readonly unknown[]).map(stringOf).join(", ") : ""
      return note("Web search", stringOf(action["query"]) || queries || stringOf(action["url"]))
    }
    case "file_search_call":
      return note("File search", Array.isArray(item["queries"]) ? (item["queries"] as readonly unknown[]).map(stringOf).join(", ") : "")
    case "code_interpreter_call":
      return note("Code that ran", stringOf(item["code"]))
    case "image_generation_call":
      return note("An image was generated", stringOf(item["revised_prompt"]))
    case "mcp_call": {
      const result = stringOf(item["output"]) || (textOf(item["error"]) ?? "")
      return note(
        `The tool ${stringOf(item["name"])} of ${stringOf(item["server_label"])}`,
        `${stringOf(item["arguments"])}${result === "" ? "" : ` → ${result}`}`,
      )
    }
    default:
      // Lists of tools, compaction and what is not known say nothing to another model.
      return type.endsWith("_call")
        ? note(type.slice(0, -"_call".length).replaceAll("_", " "), textOf(item["action"]) ?? stringOf(item["input"]))
        : undefined
  }
}

function note(what: string, details: string): string {
  const shown = details.length > TEXT_LIMIT ? `${details.slice(0, TEXT_LIMIT)}…` : details
  return shown === "" ? `[${what}]` : `[${what}: ${shown}]`
}
