import type { Json } from "../../json.ts"
import { wholeSurface } from "../../replay/base.ts"
import { digest } from "../../replay/digest.ts"
import type { Journal } from "../../replay/journal.ts"
import type { TurnConfigData } from "../../wire/config.ts"
import type { AgentSpec } from "../data.ts"

/** What is known of a configuration. */
export type RecoveredData = Required<Pick<AgentSpec, "data">> & Pick<AgentSpec, "unknown">

/**
 * Finds the configuration of a turn that another program ran. A journal has the system prompt, the tools and a digest of every other key, so likely
 * values are compared with the digests.
 */
export function recoveredData(journal: Journal): RecoveredData {
  const surface = wholeSurface(journal)
  const data: Record<string, unknown> = { model: "unknown", systemPrompt: surface.systemPrompt, tools: surface.tools }
  const unknown: string[] = []
  for (const [key, expected] of Object.entries(journal.header.config)) {
    if (key === "systemPrompt" || key === "tools") continue
    const found = candidates(key, journal).find((value) => digest(value) === expected)
    if (found === undefined) unknown.push(key)
    else data[key] = found
  }
  return { data: data as TurnConfigData, ...(unknown.length > 0 && { unknown }) }
}

/** Describes the configuration of a turn that another program ran. `undefined`: a page cannot make the driver. */
export function recoveredAgent(journal: Journal, goal?: AgentSpec["goal"]): AgentSpec | undefined {
  const { name: given } = journal.header.driver
  const driver = goal === undefined ? given : given.replace(/^goal\((.*)\)$/, "$1")
  if (driver !== "chat" && driver !== "compacting(chat)") return undefined
  return { driver, ...(goal !== undefined && { goal }), projector: driver === "chat" ? "chat" : "view", ...recoveredData(journal) }
}

function candidates(key: string, { header, entries }: Journal): readonly Json[] {
  switch (key) {
    case "model":
      return modelsIn(entries)
    case "sessionId":
    case "runSessionId":
      return ["turn", header.turnId, ...(header.parent === undefined ? [] : [header.parent.turnId])]
    case "maxIterations":
      return Array.from({ length: 1_000 }, (_, index) => index + 1)
    case "maxContextTokens":
    case "maxTokens":
    case "maxResultTokens":
      return WINDOWS
    case "generation":
      return [{}, { temperature: 0 }, { temperature: 1 }]
    case "syncExecutionSurface":
    case "emitLlmTrace":
      return [false, true]
    case "parallelToolCalls":
      return [false]
    case "cache":
      return ["auto", "off"]
    default:
      return []
  }
}

/** Sizes that people choose. */
const WINDOWS: readonly number[] = [
  ...[8, 16, 32, 64, 128, 200, 256, 400, 512, 1_000].flatMap((thousands) => [thousands * 1_000, thousands * 1_024]),
  ...Array.from({ length: 100 }, (_, index) => (index + 1) * 1_000),
  ...Array.from({ length: 20 }, (_, index) => (index + 1) * 100_000),
]

function modelsIn(entries: Journal["entries"]): readonly string[] {
  const found = new Set<string>()
  for (const { record } of entries) {
    if (record.type === "effect" && record.effect.type === "llm_call") found.add(record.effect.request.model)
    if (record.type === "llm_complete" && record.result.ok && record.result.response.producer !== undefined)
      found.add(record.result.response.producer.model)
  }
  return [...found]
}
