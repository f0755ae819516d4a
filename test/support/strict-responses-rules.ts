// What the Responses API says about the body of a request. Written from the API reference and from what users report; it imports nothing
// of the wire. https://platform.openai.com/docs/api-reference/responses/create (2026-11)

type Item = Readonly<Record<string, unknown>>

const BODY_KEYS: ReadonlySet<string> = new Set(
  "background context_management conversation include input instructions max_output_tokens max_tool_calls metadata model parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user".split(
    " ",
  ),
)

/** The keys of each type of item. Items of the provider's own tools may have any. */
const ITEM_KEYS: { readonly [type: string]: readonly string[] } = {
  easy: ["type", "role", "content", "phase"],
  message: ["type", "id", "role", "content", "status", "phase"],
  reasoning: ["type", "id", "summary", "content", "encrypted_content", "status"],
  function_call: ["type", "id", "call_id", "name", "arguments", "status", "namespace", "caller", "async"],
  function_call_output: ["type", "id", "call_id", "output", "status"],
}

const CONTENT_KEYS: { readonly [type: string]: readonly string[] } = {
  input_text: ["type", "text"],
  input_image: ["type", "detail", "image_url", "file_id"],
  input_file: ["type", "filename", "file_data", "file_url", "file_id", "detail"],
  output_text: ["type", "text", "annotations", "logprobs"],
  refusal: ["type", "refusal"],
}

const NAME = /^[a-zA-Z0-9_-]{1,64}$/

export interface RuleOptions {
  /** What call ids may be. OpenAI accepts 64 characters; endpoints accept longer ones of their own. */
  readonly callId?: RegExp
  /** Plain reasoning text is accepted, as by servers that run open models. */
  readonly plainReasoning?: boolean
  /** `temperature` and `top_p` are accepted, as for models that do not reason. */
  readonly sampling?: boolean
}

/** Returns the first rule that a body breaks, or `undefined`. */
export function responsesRefusal(body: Readonly<Record<string, unknown>>, options: RuleOptions = {}): string | undefined {
  const broken: string[] = []
  const check = (holds: boolean, rule: string): void => void (holds || broken.push(rule))
  for (const key of Object.keys(body)) check(BODY_KEYS.has(key), `Unknown parameter: '${key}'.`)
  checkTexts(body, check)
  check(typeof body["model"] === "string", "Missing required parameter: 'model'.")
  const { input, max_output_tokens: limit } = body
  check(limit === undefined || (typeof limit === "number" && limit >= 16), "Invalid 'max_output_tokens': integer below minimum value.")
  const key = body["prompt_cache_key"]
  check(key === undefined || (typeof key === "string" && key.length <= 64), "Invalid 'prompt_cache_key': string too long.")
  const effort = isObject(body["reasoning"]) ? body["reasoning"]["effort"] : undefined
  check(effort === undefined || (typeof effort === "string" && /[^ \t\r\n]/.test(effort)), "Invalid value for 'reasoning.effort'.")
  for (const name of ["temperature", "top_p"])
    check(
      options.sampling === true || effort === "none" || body[name] === undefined,
      `Unsupported parameter: '${name}' is not supported with this model.`,
    )
  checkTools(body, check)
  if (Array.isArray(input)) {
    for (const [index, item] of input.entries()) checkItem(item as Item, index, options, check)
    checkPairs(input as readonly Item[], check)
  } else check(typeof input === "string", "Missing required parameter: 'input'.")
  return broken[0]
}

type Check = (holds: boolean, rule: string) => void

function checkTexts(value: unknown, check: Check): void {
  if (typeof value === "string") check(!/\p{Surrogate}/u.test(value), `Invalid text ${JSON.stringify(value)}.`)
  else if (Array.isArray(value)) for (const item of value) checkTexts(item, check)
  else if (typeof value === "object" && value !== null)
    for (const [key, item] of Object.entries(value)) {
      checkTexts(key, check)
      checkTexts(item, check)
    }
}

function checkTools({ parallel_tool_calls: parallel, tool_choice: choice, tools }: Item, check: Check): void {
  const list = (Array.isArray(tools) ? tools : []) as readonly Item[]
  check(tools === undefined || list.length > 0, "Invalid 'tools': empty array.")
  check(list.length > 0 || (choice === undefined && parallel === undefined), "'tool_choice' is only allowed when 'tools' are specified.")
  const functions = list.filter((tool) => tool["type"] === "function")
  for (const { description, name, parameters, strict } of functions) {
    check(typeof name === "string" && NAME.test(name), `Invalid 'tools': the name ${String(name)}.`)
    check(typeof description === "string" && typeof strict === "boolean", "Invalid 'tools': a description or 'strict' is missing.")
    check(isObject(parameters) && (parameters["type"] !== "object" || isObject(parameters["properties"])), "Invalid schema: properties are missing.")
  }
  const names = functions.map(({ name }) => name)
  check(new Set(names).size === names.length, "Tool names must be unique.")
  if (isObject(choice) && choice["type"] === "function")
    check(names.includes(choice["name"]), `Tool choice '${String(choice["name"])}' not found in 'tools' parameter.`)
}

function checkItem(item: Item, index: number, { callId = /^.{1,64}$/s, plainReasoning = false }: RuleOptions, check: Check): void {
  const at = `input[${index}]`
  const { call_id: call, id, role, type } = item
  const isEasy = role !== undefined && (type === undefined || (type === "message" && id === undefined))
  const keys = isEasy ? ITEM_KEYS["easy"] : ITEM_KEYS[String(type)]
  if (keys === undefined) check(isOwn(item), `Invalid value: '${String(type)}' in ${at}.`)
  else for (const key of Object.keys(item)) check(keys.includes(key), `Unknown parameter: '${at}.${key}'.`)
  check(item["created_by"] === undefined, `Unknown parameter: '${at}.created_by'.`)
  check(id === undefined || (typeof id === "string" && NAME.test(id)), `Invalid '${at}.id': ${JSON.stringify(id)}.`)
  switch (isEasy ? "easy" : type) {
    case "easy":
      check(["user", "assistant", "system", "developer"].includes(String(role)), `Invalid '${at}.role'.`)
      check(role !== "user" || typeof item["content"] === "string" || Array.isArray(item["content"]), `Invalid '${at}.content'.`)
      check(role === "user" || (typeof item["content"] === "string" && item["content"] !== ""), `Invalid '${at}.content'.`)
      check(typeof item["content"] !== "string" || item["content"] !== "", `Invalid '${at}.content': empty string.`)
      checkContent(item["content"], ["input_text", "input_image", "input_file"], at, check)
      break
    case "message":
      check(role === "assistant" && typeof id === "string", `Invalid '${at}': an output message has an id.`)
      check(["completed", "incomplete", "in_progress"].includes(String(item["status"])), `Invalid '${at}.status'.`)
      check(Array.isArray(item["content"]) && item["content"].length > 0, `Invalid '${at}.content'.`)
      checkContent(item["content"], ["output_text", "refusal"], at, check)
      break
    case "reasoning":
      check(Array.isArray(item["summary"]), `Missing required parameter: '${at}.summary'.`)
      check(plainReasoning || item["content"] === undefined, `Invalid '${at}.content': array too long.`)
      check(
        plainReasoning || (typeof item["encrypted_content"] === "string" && item["encrypted_content"] !== ""),
        `Item with id '${String(id)}' not found.`,
      )
      break
    case "function_call":
      check(typeof call === "string" && callId.test(call), `Invalid '${at}.call_id'.`)
      check(typeof item["name"] === "string" && NAME.test(item["name"]), `Invalid '${at}.name'.`)
      check(typeof item["arguments"] === "string" && isObject(parsed(item["arguments"])), `Invalid '${at}.arguments'.`)
      break
    case "function_call_output":
      check(typeof item["output"] === "string" || Array.isArray(item["output"]), `Invalid '${at}.output'.`)
      checkContent(item["output"], ["input_text", "input_image", "input_file"], at, check)
  }
  check(
    !(isEasy || type === "message") || item["phase"] === undefined || ["commentary", "final_answer"].includes(String(item["phase"])),
    `Invalid '${at}.phase'.`,
  )
}

function checkContent(content: unknown, types: readonly string[], at: string, check: Check): void {
  if (!Array.isArray(content)) return
  check(content.length > 0, `Invalid '${at}.content': empty array.`)
  for (const part of content as readonly Item[]) {
    const type = String(part["type"])
    check(types.includes(type), `Invalid value: '${type}' in ${at}.content.`)
    for (const key of Object.keys(part)) check((CONTENT_KEYS[type] ?? []).includes(key), `Unknown parameter: '${at}.content.${key}'.`)
    if (type === "input_text") check(typeof part["text"] === "string" && part["text"] !== "", `Invalid '${at}.content.text'.`)
    if (type === "output_text") check(typeof part["text"] === "string" && Array.isArray(part["annotations"]), `Invalid '${at}.content.text'.`)
    if (type === "input_image")
      check(
        /^(?:https?:|data:image\/(?:jpe?g|png|gif|webp);base64,.)/.test(String(part["image_url"])),
        `The image data of ${at} does not represent a valid image.`,
      )
    if (type === "input_file")
      check(part["file_url"] !== undefined || /^data:.+;base64,./.test(String(part["file_data"])), `Invalid '${at}.content.file_data'.`)
  }
}

/** Calls and results, ids, and reasoning with what follows it. */
function checkPairs(items: readonly Item[], check: Check): void {
  const ids = items.flatMap(({ id }) => (typeof id === "string" ? [id] : []))
  check(new Set(ids).size === ids.length, "Duplicate item found.")
  const open = new Map<string, boolean>()
  for (const [index, { call_id: callId, type }] of items.entries()) {
    const call = String(callId)
    if (type === "function_call") {
      check(!open.has(call), `Duplicate call id ${call}.`)
      open.set(call, true)
    } else if (type === "function_call_output") {
      check(open.get(call) === true, `No tool call found for function call output with call_id ${call}.`)
      open.set(call, false)
    } else if (type === "reasoning") {
      const next = items.slice(index + 1).find((item) => item["type"] !== "reasoning")
      const isOutput = next !== undefined && next["type"] !== "function_call_output" && (next["role"] ?? "assistant") === "assistant"
      check(isOutput, "Item of type 'reasoning' was provided without its required following item.")
    }
  }
  for (const [call, isOpen] of open) check(!isOpen, `No tool output found for function call ${call}.`)
  const calls = items.filter(({ type }) => typeof type === "string" && type !== "function_call" && type !== "web_search_call")
  for (const { call_id: call, type } of calls) {
    if (typeof call !== "string" || !/^(?:shell|local_shell|apply_patch|computer|custom_tool)_call$/.test(String(type))) continue
    check(
      calls.some((item) => item["type"] === `${String(type)}_output` && item["call_id"] === call),
      `No tool output found for ${call}.`,
    )
  }
}

/** Whether an item is one of the provider's own. */
function isOwn({ type }: Item): boolean {
  return typeof type === "string" && type !== ""
}

function isObject(value: unknown): value is Item {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
