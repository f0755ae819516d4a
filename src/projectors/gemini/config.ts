import type { LlmRequest } from "../../wire/llm.ts"
import type { ToolNames } from "../wires/tool-names.ts"
import { objectSchema } from "../wires/tool-schema.ts"
import { isRecord } from "../wires/values.ts"
import type { GeminiBody, GeminiFunctionDeclaration, GeminiGenerationConfig, GeminiThinkingConfig, GeminiThinkingLevel } from "./body.ts"
import type { ModelRules } from "./model.ts"
import type { GeminiRequestOptions } from "./options.ts"

/** The tools of a request and how the model may call them. Absent without tools. Gemini has no way to allow only one call in an answer. */
export function toolsOf({ toolChoice, tools }: LlmRequest, names: ToolNames): Pick<GeminiBody, "tools" | "toolConfig"> {
  if (tools.length === 0) return {}
  const functionDeclarations = tools.map(
    ({ description, inputSchema, name }): GeminiFunctionDeclaration => ({
      name: names.sent(name),
      ...(description !== "" && { description }),
      parametersJsonSchema: objectSchema(inputSchema),
    }),
  )
  const functionCallingConfig = callingConfig(toolChoice, tools, names)
  return { tools: [{ functionDeclarations }], ...(functionCallingConfig !== undefined && { toolConfig: { functionCallingConfig } }) }
}

type CallingConfig = NonNullable<NonNullable<GeminiBody["toolConfig"]>["functionCallingConfig"]>

function callingConfig(choice: LlmRequest["toolChoice"], tools: LlmRequest["tools"], names: ToolNames): CallingConfig | undefined {
  switch (choice) {
    case "auto":
      return undefined
    case "none":
      return { mode: "NONE" }
    case "required":
      return { mode: "ANY" }
    default:
      // A name that is not declared makes the endpoint refuse the request.
      return tools.some(({ name }) => name === choice.toolName)
        ? { mode: "ANY", allowedFunctionNames: [names.sent(choice.toolName)] }
        : { mode: "ANY" }
  }
}

/** How the model generates. Absent if nothing is set. */
export function generationConfigOf(request: LlmRequest, options: GeminiRequestOptions, rules: ModelRules): Pick<GeminiBody, "generationConfig"> {
  const { generation, modelVariant, outputSpec, tools } = request
  const { maxOutputTokens, reasoningEffort = modelVariant, seed, stopSequences = [], temperature, topP } = generation
  const thinkingConfig: GeminiThinkingConfig = {
    ...(options.includeThoughts === true && { includeThoughts: true }),
    ...(reasoningEffort !== undefined && thinkingOf(reasoningEffort, rules)),
  }
  const isJson = outputSpec !== undefined && (tools.length === 0 || rules.answersInJsonWithTools)
  const config: GeminiGenerationConfig = {
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(stopSequences.length > 0 && { stopSequences }),
    ...(seed !== undefined && { seed }),
    ...(isJson && { responseMimeType: "application/json" }),
    ...(isJson && outputSpec.type === "json_schema" && { responseJsonSchema: outputSpec.schema }),
    ...(Object.keys(thinkingConfig).length > 0 && { thinkingConfig }),
  }
  return Object.keys(config).length > 0 ? { generationConfig: config } : {}
}

/**
 * Efforts by name, with the budgets in tokens that Google's OpenAI-compatible endpoint gives them.
 * @see https://ai.google.dev/gemini-api/docs/openai#thinking (2026-11)
 */
const EFFORTS: ReadonlyMap<string, { readonly level: GeminiThinkingLevel; readonly budget: number }> = new Map([
  ["none", { level: "MINIMAL", budget: 0 }],
  ["minimal", { level: "MINIMAL", budget: 1_024 }],
  ["low", { level: "LOW", budget: 1_024 }],
  ["medium", { level: "MEDIUM", budget: 8_192 }],
  ["high", { level: "HIGH", budget: 24_576 }],
  ["xhigh", { level: "HIGH", budget: 24_576 }],
  ["max", { level: "HIGH", budget: 24_576 }],
])

/**
 * Reads an effort: a level by name, or a budget in tokens. What the model does not have becomes the next that it has. Any other word is left out,
 * because it may be a variant that is not an effort.
 */
function thinkingOf(effort: string, { hasMedium, leastBudget, lowestLevel, thinking }: ModelRules): GeminiThinkingConfig {
  if (thinking === "none") return {}
  if (/^(?:-1|\d{1,6})$/.test(effort)) return { thinkingBudget: Number(effort) }
  const known = EFFORTS.get(effort.toLowerCase())
  if (known === undefined) return {}
  const { budget, level } = known
  if (thinking === "budget") return { thinkingBudget: Math.max(budget, leastBudget) }
  if (level === "MINIMAL") return { thinkingLevel: lowestLevel }
  return { thinkingLevel: level === "MEDIUM" && !hasMedium ? "HIGH" : level }
}

/**
 * Adds settings in the provider's own words. `generationConfig`, its `thinkingConfig` and `toolConfig` are merged key by key, `tools` are
 * added to those of the request, and any other key overrides.
 */
export function withExtras(body: GeminiBody, extras: unknown): GeminiBody {
  if (!isRecord(extras)) return body
  const { generationConfig, toolConfig, tools, ...others } = extras
  return {
    ...body,
    ...others,
    ...(generationConfig !== undefined && { generationConfig: merged(body.generationConfig, generationConfig, ["thinkingConfig"]) }),
    ...(toolConfig !== undefined && { toolConfig: merged(body.toolConfig, toolConfig, ["functionCallingConfig"]) }),
    ...(tools !== undefined && { tools: Array.isArray(tools) ? [...(body.tools ?? []), ...(tools as readonly object[])] : tools }),
  } as GeminiBody
}

function merged(before: unknown, after: unknown, inner: readonly string[]): unknown {
  if (!isRecord(before) || !isRecord(after)) return after
  const result = { ...before, ...after }
  for (const key of inner) if (key in before && key in after) result[key] = merged(before[key], after[key], [])
  return result
}
