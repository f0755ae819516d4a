import type { Difference } from "../errors.ts"
import type { CompleteTurnConfig } from "../machine/config.ts"
import type { JournalRecord } from "../wire/journal.ts"
import type { LlmRequest } from "../wire/llm.ts"
import { wholeSurface } from "./base.ts"
import { configDigests } from "./config.ts"
import { digest } from "./digest.ts"
import { differences } from "./divergence.ts"
import type { Journal } from "./journal.ts"
import type { Section } from "./sections.ts"

/**
 * Returns how a configuration differs from that of a section: `/driver/name`, `/driver/version`, and `/config/<key>`. The values are those
 * of the keys where the journal has them, otherwise their digests.
 */
export function configurationChanges(journal: Journal, section: Section, config: CompleteTurnConfig): readonly Difference[] {
  const { driver, config: digests } = section
  const { name, version } = config.driver
  const changes = differences({ driver, config: digests }, { driver: { name, version }, config: configDigests(config) })
  return changes.length === 0 ? changes : changes.flatMap((change) => inFull(change, journal, section, config))
}

/** {@link configurationChanges} without those of the system prompt and the tools: a turn that is resumed has its own. */
export function changesOnResume(journal: Journal, section: Section, config: CompleteTurnConfig): readonly Difference[] {
  return configurationChanges(journal, section, config).filter(({ path }) => !/^\/config\/(systemPrompt|tools)(\/|$)/.test(path))
}

/** The keys of a configuration that a projector copies into a request, with their keys there. */
export const REQUEST_KEYS: {
  readonly model: "model"
  readonly modelVariant: "modelVariant"
  readonly generation: "generation"
  readonly parallelToolCalls: "parallelToolCalls"
  readonly cache: "cache"
  readonly runSessionId: "sessionId"
} = {
  model: "model",
  modelVariant: "modelVariant",
  generation: "generation",
  parallelToolCalls: "parallelToolCalls",
  cache: "cache",
  runSessionId: "sessionId",
} satisfies { readonly [Key in keyof CompleteTurnConfig]?: keyof LlmRequest }

export type RequestKey = keyof typeof REQUEST_KEYS

/** Whether a change is one of what every request contains. */
export function changesRequests({ path }: Difference): boolean {
  return Object.hasOwn(REQUEST_KEYS, path.replace("/config/", ""))
}

/** The journal has the prompt and the tools themselves, and other values in requests that were recorded. */
function inFull(difference: Difference, journal: Journal, section: Section, config: CompleteTurnConfig): readonly Difference[] {
  const { path, expected } = difference
  const key = path.replace("/config/", "")
  if (key === "systemPrompt" || key === "tools") {
    // Without the log, only the digests are known.
    if (journal.header.base?.surface === true && journal.history === undefined) return [difference]
    const found = differences(wholeSurface(journal)[key], config[key], path)
    return section.record > 1 || found.length === 0 ? [difference] : found
  }
  if (!Object.hasOwn(REQUEST_KEYS, key)) return [difference]
  const requestKey = REQUEST_KEYS[key as RequestKey]
  for (const request of requestsOf(journal, section)) {
    const value = request[requestKey]
    const isRecorded = value === undefined ? expected === undefined : digest(value) === expected
    if (isRecorded) return differences(value, config[key as RequestKey], path)
  }
  return [difference]
}

/** The requests that a section has in full: as an effect, or as the outstanding one of a snapshot. */
function* requestsOf({ entries }: Journal, { first, end }: Section): Generator<LlmRequest> {
  for (const { record } of entries.slice(Math.max(0, first), end)) {
    const effect = effectIn(record)
    if (effect?.type === "llm_call") yield effect.request
  }
}

function effectIn(record: JournalRecord): { readonly type: "llm_call"; readonly request: LlmRequest } | undefined {
  if (record.type === "effect") return record.effect.type === "llm_call" ? record.effect : undefined
  if (record.type !== "snapshot" || record.checkpoint.state.type !== "waiting_llm") return undefined
  return record.checkpoint.state.outstanding
}
