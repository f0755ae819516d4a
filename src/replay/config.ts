import { type CompleteTurnConfig, completeConfig, type TurnConfig } from "../machine/config.ts"
import type { CompleteTurnConfigData } from "../wire/config.ts"
import type { JournalHeader } from "../wire/journal.ts"
import { digest } from "./digest.ts"

/**
 * Returns the configuration for replaying a journal: cleaned and completed as that of a live turn, and without checks, because the records
 * were checked when they were read.
 */
export function trustingConfig({ validation, ...config }: TurnConfig): CompleteTurnConfig {
  return completeConfig(validation === undefined ? config : { ...config, ...validation.config(config) })
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
