/**
 * What a model accepts, as far as its name says. Names such as `gemini-flash-latest` are those of the newest models.
 * @see https://ai.google.dev/gemini-api/docs/thought-signatures, https://ai.google.dev/gemini-api/docs/thinking (2026-11)
 */
export interface ModelRules {
  /** The first call of each step must be signed. Since Gemini 3. */
  readonly wantsSignatures: boolean
  /** Results may have images and files. Since Gemini 3. */
  readonly showsInResults: boolean
  /** Thinking has levels. Since Gemini 3; before, it has a budget of tokens. */
  readonly hasLevels: boolean
  /** JSON as the form of the answer and functions may be used together. Since Gemini 3. */
  readonly answersInJsonWithTools: boolean
}

const OLDER = /gemini-[12](?![0-9])/i

export function rulesOf(model: string): ModelRules {
  const isNew = /gemini/i.test(model) && !OLDER.test(model)
  return { wantsSignatures: isNew, showsInResults: isNew, hasLevels: isNew, answersInJsonWithTools: isNew }
}
