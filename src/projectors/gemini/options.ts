import type { Json } from "../../json.ts"
import type { EncodeOptions } from "../wires/wire.ts"

/** What an endpoint accepts. The defaults are those of the Gemini API. */
export interface GeminiWireOptions {
  /**
   * Whether calls and results are sent with ids. `omit` for Vertex AI, which refuses them; calls and results then match by their order.
   * Default `send`.
   * @see https://github.com/vercel/ai/issues/15891 (2026-11): `Unknown name "id" at 'contents[2].parts[0].function_response'`
   */
  readonly callIds?: "send" | "omit"
  /** Requests summaries of the thoughts, which are the answer's reasoning. Models that do not think refuse it. Default `false`. */
  readonly includeThoughts?: boolean
  /**
   * Whether the first call of each step must be signed. A call of another model then has the text that Google names for it. Default: by the
   * model's name, since Gemini 3.
   */
  readonly signedCalls?: boolean
  /** Whether images and files are sent in the result that shows them, or after it. Default: by the model's name, since Gemini 3. */
  readonly multimodalResults?: boolean
  /**
   * The media types that the model accepts; `image/*` is any image. A text replaces any other attachment. Default: images except GIF and SVG,
   * PDF, text, audio and video.
   * @see https://ai.google.dev/gemini-api/docs/image-understanding, https://ai.google.dev/gemini-api/docs/document-processing (2026-11)
   */
  readonly mediaTypes?: readonly string[]
  /** Further keys for the body, merged as `generation.providerOptions` are. They override those. */
  readonly extraBody?: { readonly [key: string]: Json }
}

/** What one request needs: what its endpoint accepts, and what its host knows. */
export type GeminiRequestOptions = GeminiWireOptions & EncodeOptions

/** The name of this wire in a producer. */
export const GEMINI = "gemini"

/** The provider of opaque blocks if the host does not name one. */
export const GOOGLE = "google"
