/**
 * Takes the place of a signature where a call was written by another model. Gemini then skips its check.
 * @see https://ai.google.dev/gemini-api/docs/thought-signatures (2026-11), in its questions and answers
 */
export const NO_SIGNATURE = "skip_thought_signature_validator"

/** Both alphabets of base64, which is how JSON carries bytes in Google's APIs. */
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/

/** Whether a text can be a signature. One that is not base64 makes the endpoint refuse the whole request. */
export function isSignature(value: unknown): value is string {
  return typeof value === "string" && BASE64.test(value)
}
