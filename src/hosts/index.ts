/** The I/O around a machine, on web-standard APIs: the run loop, tools, model clients. */

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
export { memoryJournalStore } from "./journal/memory.ts"
export { type SqliteDatabase, type SqliteJournalStoreOptions, type SqliteStatement, sqliteJournalStore } from "./journal/sqlite.ts"
export {
  type JournalStore,
  JournalStoreError,
  type JournalStoreErrorCode,
  type OpenOptions,
  type StoredJournal,
} from "./journal/store.ts"
export { type JudgeOptions, runJudge } from "./judge/run-judge.ts"
export { type OpenAiCompatibleOptions, openAiCompatible } from "./models/openai-compatible.ts"
export { runTurn } from "./run/run-turn.ts"
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
} from "./tools/define-tool.ts"
