import { type CompleteTurnConfig, completeConfig, type TurnConfig, type Validation } from "../machine/config.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { CompleteTurnConfigData, TurnConfigData, TurnStart } from "../wire/config.ts"
import type { JournalHeader } from "../wire/journal.ts"
import type { Response } from "../wire/response.ts"
import { digest } from "./digest.ts"

/**
 * Returns the configuration for replaying a journal: cleaned and completed as that of a live turn, and without checks of what the journal
 * has, because the records were checked when they were read. What a driver answers is checked as in the live turn.
 */
export function trustingConfig({ validation, ...config }: TurnConfig): CompleteTurnConfig {
  if (validation === undefined) return completeConfig(config)
  return completeConfig({ ...config, ...validation.config(config), validation: { ...TRUSTING, actions: (value) => validation.actions(value) } })
}

const TRUSTING: Omit<Validation, "actions"> = {
  response: (value) => value as Response,
  start: (value) => value as TurnStart,
  config: (value) => value as TurnConfigData,
  checkpoint: (value) => value as TurnCheckpoint,
}

/** Returns a digest for each key of the JSON part of a configuration, defaults included. */
export function configDigests(config: TurnConfig): JournalHeader["config"] {
  const data: CompleteTurnConfigData = completeConfig(config)
  const digests: Record<string, string> = {}
  for (const key of CONFIG_KEYS) {
    const value = data[key]
    if (value !== undefined) digests[key] = digest(value)
  }
  return digests
}

const CONFIG_KEYS = [
  "model",
  "modelVariant",
  "sessionId",
  "runSessionId",
  "systemPrompt",
  "tools",
  "maxContextTokens",
  "maxResultTokens",
  "maxIterations",
  "maxTokens",
  "generation",
  "parallelToolCalls",
  "cache",
  "syncExecutionSurface",
  "emitLlmTrace",
] as const satisfies readonly (keyof CompleteTurnConfigData)[]
