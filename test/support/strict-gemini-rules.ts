// What the Gemini API refuses, written from its reference and from public reports of its errors. Imports nothing of our code.
// https://ai.google.dev/api/generate-content · https://ai.google.dev/api/caching#Content
// https://ai.google.dev/gemini-api/docs/thought-signatures · https://ai.google.dev/gemini-api/docs/function-calling (2026-11)

type Values = Readonly<Record<string, unknown>>

export interface GeminiRules {
  /** The data of the part that each signature was given with. Absent: any base64 is a signature. */
  readonly issued?: ReadonlyMap<string, string>
  /** The first call of each step of the current turn must be signed. Since Gemini 3. */
  readonly signedCalls?: boolean
  /** Vertex AI knows no ids. */
  readonly ids?: "accepted" | "refused"
  /** Further keys of parts that the API knows. */
  readonly partKeys?: readonly string[]
}

/** Says to Gemini that a call is not its own. */
export const NOT_OURS = "skip_thought_signature_validator"

const BODY = [
  "contents",
  "systemInstruction",
  "tools",
  "toolConfig",
  "generationConfig",
  "safetySettings",
  "cachedContent",
  "continuationToken",
  "labels",
]
const GENERATION = [
  "maxOutputTokens",
  "temperature",
  "topP",
  "topK",
  "stopSequences",
  "seed",
  "candidateCount",
  "responseMimeType",
  "responseJsonSchema",
  "responseSchema",
  "thinkingConfig",
  "presencePenalty",
  "frequencyPenalty",
]
const DATA = [
  "text",
  "inlineData",
  "fileData",
  "functionCall",
  "functionResponse",
  "executableCode",
  "codeExecutionResult",
  "toolCall",
  "toolResponse",
]
const ABOUT = ["thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"]
const NAME = /^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$/
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/

/** Says why the API refuses a body; `undefined` if it accepts it. */
export function geminiRefusal(body: unknown, rules: GeminiRules = {}): string | undefined {
  try {
    checkBody(body, rules)
    return undefined
  } catch (error) {
    if (error instanceof Refused) return error.message
    throw error
  }
}

class Refused extends Error {}

function must(holds: boolean, why: string): asserts holds {
  if (!holds) throw new Refused(why)
}

function object(value: unknown, where: string): Values {
  must(typeof value === "object" && value !== null && !Array.isArray(value), `${where} is not an object.`)
  return value as Values
}

function list(value: unknown, where: string): readonly unknown[] {
  must(Array.isArray(value), `${where} is not a list.`)
  return value
}

function only(value: Values, keys: readonly string[], where: string): void {
  for (const key of Object.keys(value))
    must(keys.includes(key), `Invalid JSON payload received. Unknown name ${JSON.stringify(key)} at '${where}': Cannot find field.`)
}

function text(value: unknown, where: string): string {
  must(typeof value === "string", `${where} is not a string.`)
  return value
}

function checkBody(given: unknown, rules: GeminiRules): void {
  const body = object(given, "the body")
  checkText(body)
  only(body, BODY, "body")
  const declared = checkTools(body)
  checkToolConfig(body["toolConfig"], declared)
  checkGeneration(body["generationConfig"])
  if (body["continuationToken"] !== undefined) must(BASE64.test(text(body["continuationToken"], "continuationToken")), "Base64 decoding failed.")
  if (body["systemInstruction"] !== undefined) {
    const system = object(body["systemInstruction"], "systemInstruction")
    only(system, ["parts", "role"], "systemInstruction")
    const parts = list(system["parts"], "systemInstruction.parts")
    must(parts.length > 0, "systemInstruction has no parts.")
    for (const part of parts)
      must(text(object(part, "a part of systemInstruction")["text"], "systemInstruction") !== "", "systemInstruction is empty.")
  }
  checkContents(list(body["contents"], "contents"), rules)
}

function checkText(value: unknown): void {
  if (typeof value === "string") must(isWellFormed(value), "The body is not valid UTF-8.")
  else if (Array.isArray(value)) value.forEach(checkText)
  else if (typeof value === "object" && value !== null)
    for (const [key, item] of Object.entries(value)) {
      checkText(key)
      checkText(item)
    }
}

function checkTools({ tools }: Values): readonly string[] {
  if (tools === undefined) return []
  const names: string[] = []
  for (const given of list(tools, "tools")) {
    const tool = object(given, "a tool")
    only(tool, ["functionDeclarations", "googleSearch", "codeExecution", "urlContext"], "tools[0]")
    for (const declared of tool["functionDeclarations"] === undefined ? [] : list(tool["functionDeclarations"], "functionDeclarations")) {
      const declaration = object(declared, "a declaration")
      only(declaration, ["name", "description", "parameters", "parametersJsonSchema", "response"], "tools[0].function_declarations[0]")
      const name = text(declaration["name"], "the name of a declaration")
      must(NAME.test(name), `Invalid function name ${JSON.stringify(name)}. Must start with a letter or an underscore.`)
      must(!names.includes(name), `Duplicate function declaration found: ${name}`)
      object(declaration["parametersJsonSchema"], "parametersJsonSchema")
      names.push(name)
    }
  }
  return names
}

function checkToolConfig(config: unknown, declared: readonly string[]): void {
  if (config === undefined) return
  const { functionCallingConfig, ...others } = object(config, "toolConfig")
  only(others, ["retrievalConfig", "includeServerSideToolInvocations"], "tool_config")
  if (functionCallingConfig === undefined) return
  const calling = object(functionCallingConfig, "functionCallingConfig")
  only(calling, ["mode", "allowedFunctionNames"], "tool_config.function_calling_config")
  must(["AUTO", "ANY", "NONE", "VALIDATED"].includes(text(calling["mode"], "mode")), "Unknown mode.")
  must(declared.length > 0, "Function calling config is set without function_declarations.")
  if (calling["allowedFunctionNames"] === undefined) return
  must(calling["mode"] === "ANY", "allowed_function_names is only for the mode ANY.")
  for (const name of list(calling["allowedFunctionNames"], "allowedFunctionNames"))
    must(declared.includes(text(name, "an allowed name")), `${String(name)} is not declared.`)
}

function checkGeneration(config: unknown): void {
  if (config === undefined) return
  const generation = object(config, "generationConfig")
  only(generation, GENERATION, "generation_config")
  for (const key of ["maxOutputTokens", "temperature", "topP", "topK", "seed"])
    must(["undefined", "number"].includes(typeof generation[key]), `${key} is not a number.`)
  must(generation["responseJsonSchema"] === undefined || generation["responseMimeType"] === "application/json", "A schema needs the type JSON.")
  if (generation["thinkingConfig"] === undefined) return
  const { includeThoughts, thinkingBudget, thinkingLevel, ...others } = object(generation["thinkingConfig"], "thinkingConfig")
  only(others, [], "generation_config.thinking_config")
  must(includeThoughts === undefined || typeof includeThoughts === "boolean", "includeThoughts is not a boolean.")
  must(thinkingBudget === undefined || thinkingLevel === undefined, "You can only set only one of thinking budget and thinking level.")
  must(thinkingBudget === undefined || typeof thinkingBudget === "number", "thinkingBudget is not a number.")
  must([undefined, "MINIMAL", "LOW", "MEDIUM", "HIGH"].includes(thinkingLevel as string | undefined), "Unknown thinking level.")
}

interface Call {
  readonly id: unknown
  readonly name: string
}

function checkContents(contents: readonly unknown[], rules: GeminiRules): void {
  must(contents.length > 0, "contents is not specified.")
  const turns = contents.map((content, index) => {
    const turn = object(content, `contents[${index}]`)
    only(turn, ["role", "parts"], `contents[${index}]`)
    const parts = list(turn["parts"], `contents[${index}].parts`).map((part) => object(part, `a part of contents[${index}]`))
    must(parts.length > 0, `contents[${index}].parts must not be empty.`)
    return { role: turn["role"], parts }
  })
  const start = turns.findLastIndex(({ parts, role }) => role === "user" && parts.some((part) => part["functionResponse"] === undefined))
  let open: readonly Call[] = []
  for (const [index, { role, parts }] of turns.entries()) {
    must(role === (index % 2 === 0 ? "user" : "model"), "Please ensure that multiturn requests alternate between user and model.")
    for (const [place, part] of parts.entries()) checkPart(part, role, `contents[${index}].parts[${place}]`, rules)
    const answered = parts.flatMap((part) => (part["functionResponse"] === undefined ? [] : [object(part["functionResponse"], "a response")]))
    must(
      answered.length === open.length,
      "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
    )
    for (const [place, call] of open.entries()) {
      const response = answered[place]
      must(parts[place]?.["functionResponse"] === response, "Function responses must be the first parts of the turn after the calls.")
      must(response?.["name"] === call.name && response["id"] === call.id, `The response ${place} does not match the call ${call.name}.`)
    }
    const calls = parts.filter((part) => part["functionCall"] !== undefined)
    const [first] = calls
    must(
      rules.signedCalls !== true || index < start || first === undefined || first["thoughtSignature"] !== undefined,
      `Function call is missing a thought_signature in functionCall parts. Additional data, position ${index}.`,
    )
    open = calls.map((part) => object(part["functionCall"], "a call")).map(({ id, name }) => ({ id, name: String(name) }))
    const ids = open.flatMap(({ id }) => (id === undefined ? [] : [id]))
    must(new Set(ids).size === ids.length, "Duplicate ids.")
  }
  must(turns.at(-1)?.role === "user", "Please ensure that multiturn requests end with a user role or a function response.")
}

function checkPart(part: Values, role: unknown, where: string, rules: GeminiRules): void {
  const kinds = Object.keys(part).filter((key) => DATA.includes(key))
  only(part, [...DATA, ...ABOUT, ...(rules.partKeys ?? [])], where)
  must(kinds.length === 1, `${where}: required oneof field 'data' must have one initialized field.`)
  const [kind = ""] = kinds
  must(part["thought"] === undefined || typeof part["thought"] === "boolean", `${where}.thought is not a boolean.`)
  const signature = part["thoughtSignature"]
  if (signature !== undefined) checkSignature(part, text(signature, `${where}.thoughtSignature`), rules)
  if (kind === "text") must(text(part["text"], where) !== "" || signature !== undefined, `${where}: the text is empty.`)
  else checkData(kind, object(part[kind], where), role, where, rules)
}

function checkData(kind: string, data: Values, role: unknown, where: string, { ids = "accepted" }: GeminiRules): void {
  switch (kind) {
    case "functionCall":
      must(role === "model", "A function call is the model's.")
      only(data, ids === "accepted" ? ["id", "name", "args"] : ["name", "args"], `${where}.function_call`)
      must(NAME.test(text(data["name"], where)), `Invalid function name ${String(data["name"])}.`)
      object(data["args"], `${where}.args`)
      if (data["id"] !== undefined) must(text(data["id"], where) !== "", "An id is empty.")
      break
    case "functionResponse":
      must(role === "user", "A function response is the user's.")
      only(data, ids === "accepted" ? ["id", "name", "response", "parts"] : ["name", "response", "parts"], `${where}.function_response`)
      object(data["response"], `${where}.response`)
      for (const shown of data["parts"] === undefined ? [] : list(data["parts"], where)) {
        const { inlineData, ...others } = object(shown, where)
        only(others, [], `${where}.function_response.parts`)
        checkBlob(object(inlineData, where), ["image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"])
      }
      break
    case "inlineData":
      checkBlob(data, undefined)
      break
    case "fileData":
      only(data, ["mimeType", "fileUri"], where)
      must(/^(?:https?|gs):/.test(text(data["fileUri"], where)), "Invalid or unsupported file uri.")
      break
    case "executableCode":
    case "codeExecutionResult":
    case "toolCall":
    case "toolResponse":
      must(role === "model", `${kind} is the model's.`)
  }
}

function checkBlob(blob: Values, types: readonly string[] | undefined): void {
  only(blob, ["mimeType", "data"], "inline_data")
  const type = text(blob["mimeType"], "mimeType")
  must(types?.includes(type) ?? !["image/gif", "image/svg+xml"].includes(type), `Unsupported MIME type: ${type}`)
  must(BASE64.test(text(blob["data"], "data")), "Base64 decoding failed.")
}

/** A signature belongs to exactly the part that it was given with. */
function checkSignature(part: Values, signature: string, { issued }: GeminiRules): void {
  must(BASE64.test(signature), `Invalid value at 'thought_signature' (TYPE_BYTES), Base64 decoding failed for "${signature}"`)
  if (issued === undefined || signature === NOT_OURS) return
  must(issued.get(signature) === signedData(part), "Thought signature is not valid.")
}

/** The data of a part to which a signature belongs. */
export function signedData({ thoughtSignature: _, ...part }: Values): string {
  const call = part["functionCall"] as Values | undefined
  return JSON.stringify(call === undefined ? part : { name: call["name"], args: call["args"] })
}

function isWellFormed(value: string): boolean {
  return Buffer.from(value, "utf8").toString("utf8") === value
}
