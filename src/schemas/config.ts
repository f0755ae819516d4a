import * as z from "zod"
import type * as wire from "../wire/config.ts"
import { Count, exact, type Tagged, Timestamp } from "./json.ts"
import { generation } from "./llm.ts"
import { HistoryRecord, Message, TurnCause } from "./message.ts"
import { ToolSpec } from "./tool.ts"

const NEEDS_MODEL = "the config needs `model`, the name of the model at its provider"

/** The JSON part of a turn's configuration, before defaults. Only `model` is required; an optional key may be `undefined`. */
export type TurnConfigData = wire.TurnConfigData
export const TurnConfigData: Tagged<TurnConfigData> = exact(
  z.object({
    model: z.string({ error: ({ input }) => (input === undefined ? NEEDS_MODEL : undefined) }),
    modelVariant: z.string().optional(),
    sessionId: z.string().optional(),
    runSessionId: z.string().optional(),
    systemPrompt: z.string().optional(),
    tools: z.array(ToolSpec).optional(),
    maxContextTokens: Count.optional(),
    maxResultTokens: z.int().check(z.positive()).optional(),
    maxIterations: Count.optional(),
    maxTokens: Count.optional(),
    generation: z
      .object({
        maxOutputTokens: generation.maxOutputTokens.optional(),
        temperature: generation.temperature.optional(),
        topP: generation.topP.optional(),
        stopSequences: generation.stopSequences.optional(),
        seed: generation.seed.optional(),
        reasoningEffort: generation.reasoningEffort.optional(),
        providerOptions: generation.providerOptions.optional(),
      })
      .optional(),
    parallelToolCalls: z.literal(false).optional(),
    cache: z.enum(["auto", "off"]).optional(),
    syncExecutionSurface: z.boolean().optional(),
    emitLlmTrace: z.boolean().optional(),
  }),
)

/** What a turn begins with: the thread so far. */
export type TurnStart = wire.TurnStart
export const TurnStart: Tagged<TurnStart> = exact(
  z.object({
    messages: z.array(Message),
    events: z.array(HistoryRecord).exactOptional(),
    turnCauses: z.array(TurnCause).exactOptional(),
    iterationOffset: Count.exactOptional(),
    deadlineAt: Timestamp.exactOptional(),
    surfaceChanged: z.literal(true).exactOptional(),
  }),
)

export type CompleteTurnConfigData = wire.CompleteTurnConfigData
