/** A JSON object on the wire. */
export type Fields = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value)
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const isBlank = (value: unknown): boolean => typeof value !== "string" || /^\p{White_Space}*$/u.test(value)

const NAME = /^[a-zA-Z0-9_-]{1,64}$/
const BODY_KEYS = new Set(
  "model max_tokens system messages tools tool_choice temperature top_p top_k stop_sequences thinking output_config stream metadata service_tier container".split(
    " ",
  ),
)
const BLOCK_KEYS: { readonly [type: string]: readonly string[] } = {
  text: ["type", "text", "citations", "cache_control"],
  image: ["type", "source", "cache_control"],
  document: ["type", "source", "title", "context", "citations", "cache_control"],
  thinking: ["type", "thinking", "signature"],
  redacted_thinking: ["type", "data"],
  tool_use: ["type", "id", "name", "input", "caller", "toolset_name", "cache_control"],
  tool_result: ["type", "tool_use_id", "content", "is_error", "cache_control"],
}
const RESULT_TYPES = new Set(["text", "image", "document"])

/**
 * Says why the Messages API refuses a body; `undefined` if it accepts it. Written after the provider's reference and the messages of its
 * errors, independently of the projector.
 * @see https://platform.claude.com/docs/en/api/errors (2026-11)
 */
export function anthropicRefusal(body: unknown): string | undefined {
  if (!isObject(body)) return "body: not an object"
  for (const key of Object.keys(body)) if (!BODY_KEYS.has(key)) return `${key}: Extra inputs are not permitted`
  if (isBlank(body["model"])) return "model: Field required"
  if (!Number.isInteger(body["max_tokens"]) || (body["max_tokens"] as number) < 1) return "max_tokens: must be at least 1"
  const messages = list(body["messages"])
  if (messages.length === 0) return "messages: at least one message is required"
  return (
    systemRefusal(body["system"]) ??
    settingsRefusal(body) ??
    toolsRefusal(body, messages) ??
    messagesRefusal(messages) ??
    pairsRefusal(messages) ??
    containerRefusal(body, messages) ??
    marksRefusal(body)
  )
}

function systemRefusal(system: unknown): string | undefined {
  if (system === undefined) return undefined
  if (list(system).length === 0) return "system: must not be empty"
  for (const block of list(system))
    if (!isObject(block) || block["type"] !== "text" || isBlank(block["text"])) return "system: text content blocks must be non-empty"
  return undefined
}

function settingsRefusal(body: Fields): string | undefined {
  const { temperature, thinking, tool_choice: choice, top_p: topP, stop_sequences: stops } = body
  if (temperature !== undefined && (typeof temperature !== "number" || temperature < 0 || temperature > 1)) return "temperature: range: 0..1"
  if (temperature !== undefined && topP !== undefined) return "`temperature` and `top_p` cannot both be specified for this model."
  const { output_config: output } = body
  const form = isObject(output) && isObject(output["format"]) ? schemaRefusal(output["format"]["schema"]) : undefined
  if (form !== undefined) return `output_config.format.schema: ${form}`
  if (list(stops).some(isBlank)) return "stop_sequences: each stop sequence must contain non-whitespace"
  if (!isObject(thinking) || thinking["type"] === "disabled") return undefined
  if (temperature !== undefined && temperature !== 1) return "`temperature` may only be set to 1 when thinking is enabled"
  if (isObject(choice) && (choice["type"] === "any" || choice["type"] === "tool"))
    return "Thinking may not be enabled when tool_choice forces tool use."
  if (thinking["type"] !== "enabled") return undefined
  const budget = thinking["budget_tokens"]
  if (typeof budget !== "number" || budget < 1_024) return "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
  if (budget >= (body["max_tokens"] as number)) return "`max_tokens` must be greater than `thinking.budget_tokens`."
  const begins = loopBegins(list(body["messages"]) as readonly Fields[])
  return begins !== undefined && begins !== "thinking" && begins !== "redacted_thinking"
    ? `Expected \`thinking\` or \`redacted_thinking\`, but found \`${begins}\`.`
    : undefined
}

/** The type of the block with which the tool loop at the end begins. `undefined`: there is no loop. The answers of one loop are one turn of the model. */
function loopBegins(messages: readonly Fields[]): string | undefined {
  let begins: string | undefined
  for (let index = messages.length - 1; index > 0; index -= 1) {
    const { content, role } = messages[index] as Fields
    const [first] = list(content) as readonly Fields[]
    if (role === "assistant") begins = String(first?.["type"])
    else if (!list(content).some((block) => isObject(block) && block["type"] === "tool_result")) break
  }
  return messages.at(-1)?.["role"] === "user" && begins !== undefined && lastHasResults(messages) ? begins : undefined
}

function lastHasResults(messages: readonly Fields[]): boolean {
  return list(messages.at(-1)?.["content"]).some((block) => isObject(block) && block["type"] === "tool_result")
}

const REFUSED_KEYWORDS =
  "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern maxItems uniqueItems oneOf not".split(" ")

/** @see https://platform.claude.com/docs/en/build-with-claude/structured-outputs (2026-11): JSON Schema limitations */
function schemaRefusal(schema: unknown): string | undefined {
  if (!isObject(schema)) return "Input should be a valid dictionary"
  const refused = REFUSED_KEYWORDS.find((key) => key in schema)
  if (refused !== undefined) return `For '${String(schema["type"])}' type, property '${refused}' is not supported`
  if (schema["type"] === "object" && schema["additionalProperties"] !== false)
    return "For 'object' type, 'additionalProperties' must be explicitly set to false"
  if (!["type", "enum", "const", "anyOf", "allOf", "$ref"].some((key) => key in schema)) return "a schema has no type"
  const { $defs, anyOf, items, properties } = schema
  const inner = [...(items === undefined ? [] : [items]), ...list(anyOf), ...[$defs, properties].flatMap((named) => Object.values(named ?? {}))]
  return inner.map(schemaRefusal).find((refusal) => refusal !== undefined)
}

function toolsRefusal(body: Fields, messages: readonly unknown[]): string | undefined {
  const tools = list(body["tools"]) as readonly Fields[]
  const names = tools.map(({ name }) => name)
  if (new Set(names).size < names.length) return "tools: Tool names must be unique."
  for (const { name, description, input_schema: schema } of tools) {
    if (typeof name !== "string" || !NAME.test(name)) return "tools: name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
    if (description !== undefined && isBlank(description)) return "tools: description: must not be empty"
    if (!isObject(schema) || schema["type"] !== "object") return "tools: input_schema.type: Input should be 'object'"
    if (["anyOf", "oneOf", "allOf"].some((key) => key in schema))
      return "tools: input_schema does not support oneOf, allOf, or anyOf at the top level"
  }
  const { tool_choice: choice } = body
  if (choice !== undefined && tools.length === 0) return "tool_choice may only be specified while providing tools."
  if (isObject(choice) && choice["type"] === "tool" && !names.includes(choice["name"])) return "Tool not found in provided tools"
  const usesTools = messages.some((message) =>
    list(isObject(message) ? message["content"] : []).some((block) => isObject(block) && block["type"] === "tool_use"),
  )
  return usesTools && tools.length === 0 ? "Requests which include `tool_use` blocks must define tools." : undefined
}

function messagesRefusal(messages: readonly unknown[]): string | undefined {
  for (const [index, message] of messages.entries()) {
    const at = `messages.${index}`
    if (!isObject(message) || Object.keys(message).some((key) => key !== "role" && key !== "content")) return `${at}: Extra inputs are not permitted`
    const expected = index % 2 === 0 ? "user" : "assistant"
    if (message["role"] !== expected) return `${at}: roles must alternate between "user" and "assistant", starting with "user"`
    const content = list(message["content"])
    if (content.length === 0) return `${at}: all messages must have non-empty content`
    for (const block of content) {
      const refusal = blockRefusal(block, expected)
      if (refusal !== undefined) return `${at}: ${refusal}`
    }
    const last = content.at(-1) as Fields
    if (expected === "assistant" && (last["type"] === "thinking" || last["type"] === "redacted_thinking"))
      return `${at}: The final block in an assistant message cannot be \`thinking\`.`
  }
  const last = messages.at(-1) as Fields
  if (last["role"] !== "assistant") return undefined
  const blocks = list(last["content"]) as readonly Fields[]
  if (!blocks.some(({ type }) => !(String(type) in BLOCK_KEYS))) return "This model does not support assistant message prefill."
  const text = blocks.at(-1)?.["text"]
  return typeof text === "string" && text !== text.trimEnd() ? "final assistant content cannot end with trailing whitespace" : undefined
}

function blockRefusal(block: unknown, role: string): string | undefined {
  if (!isObject(block) || typeof block["type"] !== "string") return "a block has no type"
  const { type } = block
  const keys = BLOCK_KEYS[type]
  if (keys === undefined)
    return role === "assistant" && /^(server_tool_use|mcp_tool_use|\w+_tool_result|compaction)$/.test(type) ? undefined : `unknown block ${type}`
  for (const key of Object.keys(block)) if (!keys.includes(key)) return `${type}.${key}: Extra inputs are not permitted`
  switch (type) {
    case "text":
      return isBlank(block["text"]) ? "text content blocks must contain non-whitespace text" : undefined
    case "image":
    case "document":
      return role === "user" ? sourceRefusal(block["source"], type) : `${type} blocks are only for the user`
    case "thinking":
      if (role !== "assistant" || typeof block["thinking"] !== "string") return "misplaced thinking"
      return isBlank(block["signature"]) ? "thinking.signature: Field required" : undefined
    case "redacted_thinking":
      return role !== "assistant" || isBlank(block["data"]) ? "redacted_thinking.data: Field required" : undefined
    case "tool_use":
      if (role !== "assistant") return "`tool_use` blocks can only be in `assistant` messages"
      if (!NAME.test(String(block["id"])) || !NAME.test(String(block["name"]))) return "tool_use: String should match pattern"
      return isObject(block["input"]) ? undefined : "tool_use.input: Input should be a valid dictionary"
    default:
      return role === "user" ? resultRefusal(block) : "`tool_result` blocks can only be in `user` messages"
  }
}

function resultRefusal({ content, is_error: isError }: Fields): string | undefined {
  if (isError === true && list(content).length === 0) return "tool_result: content cannot be empty if `is_error` is true"
  for (const part of list(content)) {
    if (!isObject(part) || !RESULT_TYPES.has(String(part["type"]))) return "tool_result: unknown content"
    if (isError === true && part["type"] !== "text") return 'tool_result: all content must be type "text" if `is_error` is true'
    const refusal = blockRefusal(part, "user")
    if (refusal !== undefined) return refusal
  }
  return undefined
}

function sourceRefusal(source: unknown, type: string): string | undefined {
  if (!isObject(source)) return "source: Field required"
  if (source["type"] === "url") return /^https:/.test(String(source["url"])) ? undefined : "Only HTTPS URLs are supported."
  const media = String(source["media_type"])
  if (type === "image" ? !/^image\/(jpeg|png|gif|webp)$/.test(media) : media !== "application/pdf") return `source.media_type: ${media}`
  return /^[A-Za-z0-9+/]+={0,2}$/.test(String(source["data"])) ? undefined : "source.data: invalid base64"
}

/** Each call has one result at the beginning of the next message, and each result such a call; so do the provider's own tools. */
function pairsRefusal(messages: readonly unknown[]): string | undefined {
  const all = new Set<unknown>()
  const waiting = new Set<unknown>()
  let open = new Set<unknown>()
  for (const [index, { content, role }] of (messages as readonly Fields[]).entries()) {
    const blocks = list(content) as readonly Fields[]
    if (role === "user") {
      const results = blocks.filter(({ type }) => type === "tool_result")
      if (blocks.slice(0, results.length).some(({ type }) => type !== "tool_result")) return `messages.${index}: results must come first`
      for (const { tool_use_id: id } of results) if (!open.delete(id)) return `messages.${index}: unexpected \`tool_use_id\` found: ${String(id)}`
      if (open.size > 0)
        return `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${[...open].join(", ")}`
      if (index > 0 && waiting.size > 0 && results.length < blocks.length) return `messages.${index}: a tool of the provider has no result`
      continue
    }
    open = new Set()
    for (const { id, tool_use_id: call, type } of blocks) {
      if (String(type).endsWith("_tool_result") && !waiting.delete(call)) return `messages.${index}: a result of no tool of the provider`
      if (type === "server_tool_use" || type === "mcp_tool_use") waiting.add(id)
      if (type !== "tool_use") continue
      if (all.has(id)) return `messages.${index}: \`tool_use\` ids must be unique`
      all.add(id)
      open.add(id)
    }
  }
  return open.size > 0 ? "`tool_use` ids were found without `tool_result` blocks immediately after" : undefined
}

/** Code that waits for the results of calls needs its container. */
function containerRefusal({ container }: Fields, messages: readonly unknown[]): string | undefined {
  const blocks = messages.flatMap((message) => list((message as Fields)["content"]) as readonly Fields[])
  const ended = new Set(blocks.map(({ tool_use_id: id }) => id))
  const pending = blocks.some(({ id, name, type }) => type === "server_tool_use" && name === "code_execution" && !ended.has(id))
  return pending && container === undefined
    ? "container_id is required when there are pending tool uses generated by code execution with tools."
    : undefined
}

function marksRefusal(body: Fields): string | undefined {
  const marks = JSON.stringify(body).match(/"cache_control":\{/g)?.length ?? 0
  return marks > 4 ? `A maximum of 4 blocks with cache_control may be provided. Found ${marks}.` : undefined
}
