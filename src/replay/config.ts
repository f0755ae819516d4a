import type { TurnConfig } from "../machine/turn.ts"
import type { TurnConfigData } from "../schemas/config.ts"
import type { JournalHeader } from "../schemas/journal.ts"
import { digest } from "./digest.ts"

/**
 * Returns the configuration for replaying a journal: cleaned as that of a live turn, and without checks, because the records
 * were checked when they were read.
 */
export function trustingConfig(config: TurnConfig): TurnConfig {
  const { validation, ...trusting } = config
  return { ...trusting, ...validation?.config(config) }
}

/** Returns a digest for each key of the JSON part of a configuration. */
export function configDigests(config: TurnConfig): JournalHeader["config"] {
  const data: TurnConfigData = config
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
  "maxIterations",
  "generation",
  "syncExecutionSurface",
  "autonomous",
  "emitLlmTrace",
] as const satisfies readonly (keyof TurnConfigData)[]
