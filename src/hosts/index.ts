/** The I/O around a machine, on web-standard APIs: the run loop, tools, model clients, journal stores. */

export type { Judgement } from "../wire/checklist.ts"
export type { Change } from "../wrap.ts"
export { memoryAttachmentStore } from "./attachments/memory.ts"
export {
  type Attachment,
  type AttachmentInfo,
  type AttachmentStore,
  AttachmentStoreError,
  type AttachmentStoreErrorCode,
  dataUrl,
  describeBytes,
} from "./attachments/store.ts"
export {
  type EffectContext,
  type Host,
  type HostCode,
  type HostPatch,
  type HostTools,
  LlmCallError,
  type LlmCallErrorOptions,
  PendingAnswer,
  type PendingFacts,
  type PendingOutput,
  type PerformOptions,
  pending,
  type Recovered,
  RunError,
  type RunErrorCode,
  type RunLoop,
  type RunOptions,
  type RunToEndOptions,
  type SentRequest,
  type Suspended,
  type SuspendingRunOptions,
  type SuspendOptions,
  type ToolAnswer,
  type ToolEffects,
  ToolError,
  type ToolErrorFacts,
  type TurnLog,
  type TurnView,
  wrapHost,
} from "./host.ts"
export { memoryJournalStore } from "./journal/memory.ts"
export { type SqliteDatabase, type SqliteJournalStoreOptions, type SqliteStatement, sqliteJournalStore } from "./journal/sqlite.ts"
export {
  type JournalOwner,
  type JournalStore,
  JournalStoreError,
  type JournalStoreErrorCode,
  type JournalStoreErrorOptions,
  type ListOptions,
  type OpenOptions,
  type StoredJournal,
} from "./journal/store.ts"
export { type JudgeOptions, runJudge } from "./judge/run-judge.ts"
export { type AnthropicOptions, anthropic } from "./models/anthropic.ts"
export { type FallbackKind, type FallbackOptions, fallback } from "./models/fallback.ts"
export { type GeminiOptions, gemini } from "./models/gemini.ts"
export { type HttpModelOptions, type HttpOptions, httpModel } from "./models/http-model.ts"
export { type OpenAiCompatibleOptions, openAiCompatible } from "./models/openai-compatible.ts"
export { type OpenAiResponsesOptions, openAiResponses } from "./models/openai-responses.ts"
export { costOf, type PublishedPrices, pricesOf, type TokenPrices } from "./models/prices.ts"
export { type RetryOptions, withRetry } from "./models/with-retry.ts"
export { type PerformEffectOptions, performEffect } from "./run/perform-effect.ts"
export { runTurn } from "./run/run-turn.ts"
export { type RedirectMessages, redirectRun, wakeRun } from "./run/wake-run.ts"
export { defineOutput, type OutputDefinition } from "./tools/define-output.ts"
export {
  type DefinedTool,
  defineTool,
  type JsonOf,
  type Recovery,
  type Returned,
  type ToolContext,
  type ToolDefinition,
  type ToolProgress,
  ToolReply,
  type ToolReturn,
  type ToolValue,
} from "./tools/define-tool.ts"
export { type LiveToolbox, mergeToolboxes, syncTools } from "./tools/merge-toolboxes.ts"
export { ToolDefinitionError, type ToolDefinitionErrorCode } from "./tools/tool-definition-error.ts"
export { type Tool, type Toolbox, type ToolboxOptions, type ToolCallContext, type ToolDescription, toolbox } from "./tools/toolbox.ts"
export type { ZodSchema } from "./tools/zod-schema.ts"
