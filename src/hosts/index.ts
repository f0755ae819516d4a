/** The I/O around a machine, on web-standard APIs: the run loop, tools, model clients. */
export {
  defineTool,
  type Recovery,
  type Tool,
  type ToolContext,
  type ToolDefinition,
  ToolDefinitionError,
  type ToolDefinitionErrorCode,
  ToolReply,
  toolbox,
} from "./define-tool.ts"
export {
  type EffectContext,
  type Host,
  LlmCallError,
  type Recovered,
  type RunOptions,
  type ToolAnswer,
  type ToolEffects,
  ToolError,
  type ToolErrorFacts,
  type TurnLog,
} from "./host.ts"
export {
  type JournalStore,
  JournalStoreError,
  type JournalStoreErrorCode,
  type OpenOptions,
  type StoredJournal,
} from "./journal-store.ts"
export { memoryJournalStore } from "./memory-journal-store.ts"
export { type OpenAiCompatibleOptions, openAiCompatible } from "./openai-compatible.ts"
export { type JudgeOptions, runJudge } from "./run-judge.ts"
export { runTurn } from "./run-turn.ts"
export { type SqliteDatabase, type SqliteJournalStoreOptions, type SqliteStatement, sqliteJournalStore } from "./sqlite-journal-store.ts"
