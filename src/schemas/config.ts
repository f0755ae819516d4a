import * as z from "zod"
import { Count, type Readonlys } from "./json.ts"
import { Generation } from "./llm.ts"
import { HistoryRecord, Message, TurnCause } from "./message.ts"
import { ToolSpec } from "./tool.ts"

/** The JSON part of a turn's configuration. `maxIterations` and `maxContextTokens`: absent means no limit. */
export const TurnConfigData = z.object({
  model: z.string(),
  modelVariant: z.string().exactOptional(),
  sessionId: z.string(),
  runSessionId: z.string().exactOptional(),
  systemPrompt: z.string(),
  tools: z.array(ToolSpec),
  maxContextTokens: Count.exactOptional(),
  maxIterations: Count.exactOptional(),
  generation: Generation,
  syncExecutionSurface: z.boolean(),
  autonomous: z.boolean(),
  emitLlmTrace: z.boolean(),
})
export type TurnConfigData = Readonlys<z.infer<typeof TurnConfigData>>

/** What a turn begins with: the thread so far, and where its iterations are counted from. */
export const TurnStart = z.object({
  messages: z.array(Message),
  events: z.array(HistoryRecord).exactOptional(),
  turnCauses: z.array(TurnCause).exactOptional(),
  iterationOffset: Count.exactOptional(),
})
export type TurnStart = Readonlys<z.infer<typeof TurnStart>>
