import type { LlmFailure } from "../../wire/llm.ts"

/** Shorter values are placeholders such as `none`, and would be removed from ordinary words. */
const SHORTEST_SECRET = 8

/** Removes secrets from a text: an endpoint may quote what it received, also as JSON or in an address. */
export function redactor(values: readonly string[]): (text: string) => string {
  const secrets = values.flatMap((value) => [value.trim(), ...value.split(/\s+/)]).filter((secret) => secret.length >= SHORTEST_SECRET)
  const spellings = secrets.flatMap((secret) => [
    secret,
    JSON.stringify(secret).slice(1, -1),
    secret.replaceAll("/", "\\/"),
    encodeURIComponent(secret),
  ])
  const longestFirst = [...new Set(spellings)].sort((a, b) => b.length - a.length)
  return (text) => longestFirst.reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text)
}

/** Removes secrets from all texts of a failure. */
export function redactFailure(failure: LlmFailure, redact: (text: string) => string): LlmFailure {
  const { code, raw, requestBody } = failure
  return {
    ...failure,
    message: redact(failure.message),
    ...(code !== undefined && { code: redact(code) }),
    ...(raw !== undefined && { raw: redact(raw) }),
    ...(requestBody !== undefined && { requestBody: redact(requestBody) }),
  }
}
