import type { OpenAiChatBody, OpenAiMessage } from "../../../src/projectors/openai-chat/index.ts"

// What the API reference says about the body of a request. Written from the reference and not from our code.
// https://platform.openai.com/docs/api-reference/chat/create (2026-11)

const NAME = /^[a-zA-Z0-9_-]{1,64}$/

/** Returns all ways in which a body breaks the reference. */
export function brokenRules(body: OpenAiChatBody, id = /^[\x21-\x7e]{1,40}$/): readonly string[] {
  const broken: string[] = []
  const check = (holds: boolean, rule: string): void => void (holds || broken.push(rule))
  const raw = JSON.stringify(body)
  check(isWellFormed(raw), "the body is well-formed text")
  // A lone surrogate is written as an escape by JSON.stringify.
  JSON.parse(raw, (key, value: unknown) => {
    check(isWellFormed(key), `the key ${JSON.stringify(key)} is well-formed`)
    if (typeof value === "string") check(isWellFormed(value), `the text ${JSON.stringify(value)} is well-formed`)
    return value
  })

  const { messages, tools, tool_choice: choice } = JSON.parse(raw) as OpenAiChatBody
  check(tools === undefined || tools.length > 0, "tools are not empty")
  check(tools !== undefined || (choice === undefined && body.parallel_tool_calls === undefined), "choices need tools")
  for (const tool of tools ?? []) check(NAME.test(tool.function.name), `the tool's name ${tool.function.name} fits`)
  if (typeof choice === "object") check(NAME.test(choice.function.name), "the chosen name fits")

  const ids = new Set<string>()
  let open = new Set<string>()
  for (const message of messages) {
    if (message.role === "tool") {
      check(open.delete(message.tool_call_id), `the result ${message.tool_call_id} follows its call`)
      check(typeof message.content === "string", "a result is text")
      continue
    }
    check(open.size === 0, `the calls ${[...open].join()} have results`)
    checkContent(message, check)
    if (message.role !== "assistant") continue
    const calls = message.tool_calls ?? []
    check(message.tool_calls === undefined || calls.length > 0, "calls are not an empty list")
    for (const call of calls) {
      check(id.test(call.id), `the id ${call.id} fits`)
      check(!ids.has(call.id), `the id ${call.id} is used once`)
      ids.add(call.id)
      check(NAME.test(call.function.name), `the name ${call.function.name} fits`)
      check(isObjectText(call.function.arguments), `the arguments ${call.function.arguments} are an object`)
    }
    open = new Set(calls.map((call) => call.id))
  }
  check(open.size === 0, `the calls ${[...open].join()} have results`)
  return broken
}

function checkContent(message: Exclude<OpenAiMessage, { role: "tool" }>, check: (holds: boolean, rule: string) => void): void {
  const { content, role } = message
  check(["system", "developer", "user", "assistant"].includes(role), `the role ${role} exists`)
  if (role === "assistant") check(typeof content === "string" || message.tool_calls !== undefined, "an answer has text or calls")
  else if (typeof content === "string") check(content !== "", "content is not empty")
  else check(role === "user" && content !== null && content.length > 0, "only a user has a list of parts")
  if (typeof content !== "object" || content === null) return
  for (const part of content) {
    if (part.type === "image_url") check(!/^data:(?!image\/)/.test(part.image_url.url), "an image is an image")
    if (part.type === "file") check(part.file.file_data.startsWith("data:") && part.file.filename !== "", "a file has a name and its data")
  }
}

function isObjectText(text: string): boolean {
  try {
    let wellFormed = true
    const value: unknown = JSON.parse(text, (key, item: unknown) => {
      wellFormed &&= isWellFormed(key) && (typeof item !== "string" || isWellFormed(item))
      return item
    })
    return wellFormed && typeof value === "object" && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

/** Whether every surrogate of a text has its other half. */
export function isWellFormed(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    if (unit < 0xd800 || unit > 0xdfff) continue
    const next = text.charCodeAt(index + 1)
    if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return false
    index += 1
  }
  return true
}
