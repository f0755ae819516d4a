import type { Json } from "../../json.ts"
import type { ToolNames } from "../../projectors/wires/tool-names.ts"
import { isRecord } from "../../projectors/wires/values.ts"
import { wellFormed } from "../../projectors/wires/well-formed.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import { type AiSdkLanguageModel, type AiSdkProviderTool, type Dialect, mergeOptions, type ProviderOptions } from "./language-model.ts"
import type { PromptMessage } from "./prompt-types.ts"

/** The options of one call of a language model, of either version of the interface. */
export interface CallOptions {
  readonly prompt: readonly PromptMessage[]
  readonly maxOutputTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly stopSequences?: readonly string[]
  readonly seed?: number
  readonly responseFormat?: { readonly type: "json"; readonly schema?: Json; readonly name?: string }
  readonly tools?: readonly CallTool[]
  readonly toolChoice?: { readonly type: "auto" | "none" | "required" } | { readonly type: "tool"; readonly toolName: string }
  /** Only V4 has it. */
  readonly reasoning?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly providerOptions?: ProviderOptions
  readonly abortSignal: AbortSignal
}

export type CallTool =
  | {
      readonly type: "function"
      readonly name: string
      readonly description: string
      readonly inputSchema: Json
      readonly providerOptions?: ProviderOptions
    }
  | { readonly type: "provider"; readonly id: string; readonly name: string; readonly args: object }

/** What the options of a call depend on besides its request and its prompt. */
export interface CallSettings {
  readonly model: AiSdkLanguageModel
  readonly dialect: Dialect
  readonly names: ToolNames
  readonly providerTools: Readonly<Record<string, AiSdkProviderTool>>
  readonly providerOptions: ProviderOptions | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
}

/** The levels of `reasoning` of the interface V4. A provider may have others among its own options. */
const LEVELS: ReadonlySet<string> = new Set(["none", "minimal", "low", "medium", "high", "xhigh", "max"])

/** Returns the options of a call. Settings of the AI SDK that a provider does not have come back from it as warnings. */
export function callOptions(request: LlmRequest, prompt: readonly PromptMessage[], abortSignal: AbortSignal, settings: CallSettings): CallOptions {
  const { generation, modelVariant, outputSpec, parallelToolCalls, toolChoice } = request
  const { dialect, headers, model, names } = settings
  const { maxOutputTokens, reasoningEffort: effort = modelVariant, seed, stopSequences = [], temperature, topP } = generation
  const hasLevel = model.specificationVersion === "v4" && effort !== undefined && LEVELS.has(effort)
  const tools = toolsOf(request, settings)
  const own = {
    ...(effort !== undefined && !hasLevel && dialect.effort(effort)),
    ...(parallelToolCalls === false && tools.length > 0 && dialect.oneCall),
    // Where a provider enforces schemas by default, it refuses one that is not made for it.
    ...(outputSpec?.type === "json_schema" && !outputSpec.strict && { strictJsonSchema: false }),
  }
  const providerOptions = mergeOptions(
    Object.keys(own).length > 0 ? { [dialect.key]: own } : undefined,
    settings.providerOptions,
    givenOptions(generation.providerOptions),
  )
  return {
    prompt,
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(stopSequences.length > 0 && { stopSequences }),
    ...(seed !== undefined && { seed }),
    ...(outputSpec !== undefined && { responseFormat: responseFormat(outputSpec) }),
    ...(tools.length > 0 && {
      tools,
      toolChoice: typeof toolChoice === "string" ? { type: toolChoice } : ({ type: "tool", toolName: names.sent(toolChoice.toolName) } as const),
    }),
    ...(hasLevel && { reasoning: effort }),
    ...(headers !== undefined && { headers }),
    ...(Object.keys(providerOptions).length > 0 && { providerOptions }),
    abortSignal,
  }
}

function responseFormat(outputSpec: NonNullable<LlmRequest["outputSpec"]>): NonNullable<CallOptions["responseFormat"]> {
  if (outputSpec.type === "json_object") return { type: "json" }
  const { name, schema } = outputSpec
  return { type: "json", schema, name }
}

/** The tools of a request, and those that the provider defines. One of the provider's replaces the request's with its name. */
function toolsOf({ cache = "auto", messages, tools }: LlmRequest, { dialect, names, providerTools }: CallSettings): readonly CallTool[] {
  const own = tools.filter(({ name }) => !Object.hasOwn(providerTools, name))
  // A system prompt has a mark of its own, which includes the tools.
  const isMarked = cache === "auto" && dialect.marksCache && messages[0]?.role !== "system"
  const sent = own.map(({ description, inputSchema, name }, index): CallTool => {
    const mark = isMarked && index === own.length - 1 ? { providerOptions: { [dialect.key]: { cacheControl: { type: "ephemeral" } } } } : {}
    return wellFormed({ type: "function", name: names.sent(name), description, inputSchema, ...mark })
  })
  return [...Object.entries(providerTools).map(([name, { id, args }]): CallTool => ({ type: "provider", id, name, args })), ...sent]
}

/** The request's provider options, of which each key is the name of a provider. */
function givenOptions(options: Json | undefined): ProviderOptions | undefined {
  if (!isRecord(options)) return undefined
  return Object.fromEntries(Object.entries(options).filter(([, own]) => isRecord(own))) as ProviderOptions
}
