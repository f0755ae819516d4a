/**
 * What a model accepts, as far as its name says. Names such as `gemini-flash-latest` are those of the newest models.
 * @see https://ai.google.dev/gemini-api/docs/thought-signatures, https://ai.google.dev/gemini-api/docs/thinking (2026-11)
 */
export interface ModelRules {
  /** The first call of each step must be signed. Since Gemini 3. */
  readonly wantsSignatures: boolean
  /** Results may have images and files. Since Gemini 3. */
  readonly showsInResults: boolean
  /** How thinking is set: by levels since Gemini 3, by a budget of tokens in Gemini 2.5. Older models do not think. */
  readonly thinking: "levels" | "budget" | "none"
  /** The lowest level. Pro models, and Flash models since 3.7, do not have `MINIMAL`. */
  readonly lowestLevel: "MINIMAL" | "LOW"
  /** Whether there is a level between `LOW` and `HIGH`. Gemini 3 Pro has none. */
  readonly hasMedium: boolean
  /** The smallest budget, in tokens. Gemini 2.5 Pro cannot stop thinking. */
  readonly leastBudget: number
  /** JSON as the form of the answer and functions may be used together. Since Gemini 3. */
  readonly answersInJsonWithTools: boolean
}

/** @see https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking (2026-11): the levels of each model */
const MINIMAL = /gemini-3(?:[.-][1-6])?-flash/i
const OLDER = /gemini-[12](?![0-9])/i

export function rulesOf(model: string): ModelRules {
  const isNew = /gemini/i.test(model) && !OLDER.test(model)
  return {
    wantsSignatures: isNew,
    showsInResults: isNew,
    thinking: isNew ? "levels" : /gemini-2[.-]5/i.test(model) ? "budget" : "none",
    lowestLevel: MINIMAL.test(model) ? "MINIMAL" : "LOW",
    hasMedium: !/gemini-3-pro/i.test(model),
    leastBudget: /gemini-2[.-]5-pro/i.test(model) ? 128 : 0,
    answersInJsonWithTools: isNew,
  }
}
