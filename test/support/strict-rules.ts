/** A message on the wire. */
export interface ChatMessage {
  readonly role: string
  readonly content?: unknown
  readonly tool_calls?: readonly {
    readonly id: string
    readonly type?: string
    readonly function: { readonly name: string; readonly arguments: string }
  }[]
  readonly tool_call_id?: string
}

export interface ChatTool {
  readonly type: string
  readonly function: { readonly name: string; readonly parameters?: unknown }
}

/**
 * A rule that some providers have.
 *
 * - `user_before_calls`: a message with tool calls directly follows a user's message or a tool's result. Gemini: "Please ensure that
 *   function call turn comes immediately after a user turn or after a function response turn."
 * - `no_user_after_tool`: Mistral refuses a user's message after a tool's result ("Unexpected role 'user' after role 'tool'", code 3230).
 * - `alternate`: user and assistant take turns and the user begins, where messages with calls and their results do not count. Chat
 *   templates of Mistral and Gemma: "After the optional system message, conversation roles must alternate user/assistant/user/…".
 * - `offered_tools`: a call in the history names a tool of this request. Anthropic's and several gateways' rule for forced tools.
 * - `system_only_first`: only the first message is a system message. Qwen's templates.
 *
 * @see https://github.com/google-gemini/gemini-cli/issues/11814 · https://github.com/BerriAI/litellm/issues/17761 ·
 *   https://github.com/vllm-project/vllm/issues/6862 · https://github.com/vllm-project/vllm/issues/41114 (2026-11)
 */
export type Rule = "user_before_calls" | "no_user_after_tool" | "alternate" | "offered_tools" | "system_only_first"

const ROLES: ReadonlySet<string> = new Set(["system", "developer", "user", "assistant", "tool"])

/**
 * Says why a provider refuses these messages; `undefined` if it accepts them. Every provider wants known roles, one result for each call
 * directly after it, arguments that are the text of a JSON object, names that match `[a-zA-Z0-9_-]{1,64}`, no empty message of a user, and
 * a last message that is the user's or a result.
 */
export function refusalOf(messages: readonly ChatMessage[], tools: readonly ChatTool[], rules: readonly Rule[]): string | undefined {
  return namesRefusal(messages, tools, rules) ?? pairsRefusal(messages) ?? orderRefusal(messages, rules)
}

function namesRefusal(messages: readonly ChatMessage[], tools: readonly ChatTool[], rules: readonly Rule[]): string | undefined {
  const names = tools.map((tool) => tool.function.name)
  if (new Set(names).size < names.length) return "Tool names must be unique."
  for (const name of [...names, ...messages.flatMap(({ tool_calls = [] }) => tool_calls.map((call) => call.function.name))]) {
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) return `Invalid tool name ${JSON.stringify(name)}.`
  }
  for (const [index, { content, role, tool_calls = [] }] of messages.entries()) {
    if (!ROLES.has(role)) return `messages[${index}]: unknown role ${JSON.stringify(role)}.`
    if (role !== "assistant" && tool_calls.length > 0) return `messages[${index}]: only an assistant message can have tool_calls.`
    if ((role === "user" || role === "system") && (content === "" || content === null || content === undefined))
      return `messages[${index}]: the content of a ${role} message must not be empty.`
    if (role === "assistant" && tool_calls.length === 0 && (content === "" || content === null || content === undefined))
      return `messages[${index}]: an assistant message needs content or tool_calls.`
    for (const call of tool_calls) {
      if (!isObject(call.function.arguments)) return `messages[${index}]: the arguments of ${call.function.name} are not a JSON object.`
      if (rules.includes("offered_tools") && !names.includes(call.function.name))
        return `messages[${index}]: the tool ${call.function.name} is called but not among the tools of the request.`
    }
  }
  return undefined
}

/** Every call has exactly one result, and the results are directly after the calls. */
function pairsRefusal(messages: readonly ChatMessage[]): string | undefined {
  let open = new Set<string>()
  for (const [index, { role, tool_call_id = "", tool_calls = [] }] of messages.entries()) {
    if (role === "tool") {
      if (!open.delete(tool_call_id)) return `messages[${index}]: the result ${JSON.stringify(tool_call_id)} answers no call directly before it.`
      continue
    }
    if (open.size > 0) return `messages[${index}]: Not the same number of function calls and responses: ${[...open].join(", ")} has no result.`
    open = new Set(tool_calls.map(({ id }) => id))
    if (open.size < tool_calls.length) return `messages[${index}]: duplicate tool call ids.`
  }
  return open.size > 0 ? `Not the same number of function calls and responses: ${[...open].join(", ")} has no result.` : undefined
}

function orderRefusal(messages: readonly ChatMessage[], rules: readonly Rule[]): string | undefined {
  const isSystem = ({ role }: ChatMessage): boolean => role === "system" || role === "developer"
  const talk = messages.filter((message) => !isSystem(message))
  const last = talk.at(-1)?.role
  if (last !== "user" && last !== "tool") return `Expected last role User or Tool for serving but got ${last ?? "none"}.`
  if (rules.includes("system_only_first") && messages.slice(1).some(isSystem)) return "System message must be at the beginning."

  let expected = "user"
  for (const [index, { role, tool_calls = [] }] of talk.entries()) {
    const before = talk[index - 1]?.role
    if (rules.includes("user_before_calls") && tool_calls.length > 0 && before !== "user" && before !== "tool")
      return `A function call turn must come immediately after a user turn or after a function response turn, not after ${before ?? "nothing"}.`
    if (rules.includes("no_user_after_tool") && role === "user" && before === "tool") return "Unexpected role 'user' after role 'tool'."
    if (!rules.includes("alternate") || role === "tool" || tool_calls.length > 0) continue
    if (role !== expected) return "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."
    expected = expected === "user" ? "assistant" : "user"
  }
  return undefined
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}
