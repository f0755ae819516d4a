import { MockLanguageModelV3 } from "ai/test"
import { MockLanguageModelV4 } from "ai-7/test"
import { type AiSdkModelOptions, aiSdkModel } from "../../../src/hosts/ai-sdk/ai-sdk-model.ts"
import type { AiSdkLanguageModel } from "../../../src/hosts/ai-sdk/language-model.ts"
import { type EffectContext, LlmCallError } from "../../../src/hosts/host.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import type { Block, LlmRequest, LlmResponse } from "../../../src/wire/llm.ts"
import type { Producer } from "../../../src/wire/message.ts"

export const HI: LlmRequest = {
  model: "m",
  messages: [{ role: "user", blocks: [{ type: "text", text: "Hi" }] }],
  attachments: [],
  tools: [],
  toolChoice: "auto",
  generation: {},
}

export const LOOK = { name: "look", description: "Looks.", inputSchema: { type: "object", properties: {} } }

/** The producer of an answer of the mocks. */
export const MOCK: Producer = { provider: "mock-provider", api: "ai-sdk", model: "mock-model-id" }

export const USAGE = {
  inputTokens: { total: 34, noCache: 20, cacheRead: 10, cacheWrite: 4 },
  outputTokens: { total: 9, text: 6, reasoning: 3 },
  raw: { prompt: 30 },
}

type Part = { readonly type: string; readonly [key: string]: unknown }

export const FINISH: Part = { type: "finish", usage: USAGE, finishReason: { unified: "stop", raw: "end_turn" } }

export function said(text: string, id = "1"): readonly Part[] {
  return [
    { type: "text-start", id },
    { type: "text-delta", id, delta: text },
    { type: "text-end", id },
  ]
}

export function streamOf(parts: readonly unknown[]): ReadableStream<unknown> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part)
      controller.close()
    },
  })
}

/** A mock of either version, which streams these parts. `calls`: the options of its calls. */
export interface Mock {
  readonly model: AiSdkLanguageModel
  readonly calls: readonly CallOf[]
}

/** The options of a call, loosely. */
export interface CallOf {
  readonly prompt: readonly { readonly role: string; readonly content: unknown; readonly providerOptions?: unknown }[]
  readonly [option: string]: unknown
}

type Streams = (options: CallOf) => unknown

export type Version = "v3" | "v4"
export const VERSIONS: readonly Version[] = ["v3", "v4"]

export function mock(
  version: Version,
  parts: readonly unknown[] | Streams,
  facts: { readonly provider?: string; readonly request?: unknown } = {},
): Mock {
  const doStream = async (options: unknown): Promise<never> => {
    const stream = typeof parts === "function" ? await parts(options as CallOf) : streamOf(parts)
    return { stream, ...(facts.request !== undefined && { request: facts.request }) } as never
  }
  const settings = { doStream, ...(facts.provider !== undefined && { provider: facts.provider }) }
  const model = version === "v3" ? new MockLanguageModelV3(settings) : new MockLanguageModelV4(settings)
  return { model, calls: model.doStreamCalls as unknown as readonly CallOf[] }
}

/** A mock that answers with a whole result. */
export function whole(version: Version, result: object): Mock {
  const doGenerate = async (): Promise<never> => ({ warnings: [], usage: USAGE, ...result }) as never
  const model = version === "v3" ? new MockLanguageModelV3({ doGenerate }) : new MockLanguageModelV4({ doGenerate })
  return { model, calls: model.doGenerateCalls as unknown as readonly CallOf[] }
}

export interface Asked {
  readonly events: readonly TurnEvent[]
  readonly response: LlmResponse
}

/** Calls a model with waits that take no time. */
export async function ask(
  model: AiSdkLanguageModel | ((name: string) => AiSdkLanguageModel),
  options: AiSdkModelOptions = {},
  request: LlmRequest = HI,
  signal: AbortSignal = new AbortController().signal,
  onEvent: (event: TurnEvent) => void = () => {},
): Promise<Asked> {
  const events: TurnEvent[] = []
  const context: EffectContext = {
    effectId: 1,
    idempotencyKey: undefined,
    signal,
    emit: (event) => {
      events.push(event)
      onEvent(event)
    },
  }
  const { llmCall } = aiSdkModel(model, { sleep: async () => {}, ...options })
  const response = await llmCall({ type: "llm_call", id: 1, request }, context)
  return { events, response }
}

/** The error of a call that fails. */
export async function refused(...given: Parameters<typeof ask>): Promise<LlmCallError> {
  try {
    await ask(...given)
  } catch (error) {
    if (error instanceof LlmCallError) return error
    throw error
  }
  throw new Error("The call did not fail.")
}

/** A request whose last message is an answer with these blocks. */
export function answered(blocks: readonly Block[], producer?: Producer): LlmRequest {
  return {
    ...HI,
    messages: [
      ...HI.messages,
      { role: "assistant", blocks, ...(producer !== undefined && { producer }) },
      { role: "user", blocks: [{ type: "text", text: "And?" }] },
    ],
  }
}

/** An answer as the next request of its conversation holds it. */
export function blocksOf({ parts }: LlmResponse): readonly Block[] {
  return parts
}
