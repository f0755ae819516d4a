import type { Json } from "../../json.ts"
import type { EncodeOptions } from "../wires/wire.ts"

/** What an endpoint accepts. The defaults are those of the OpenAI reference. */
export interface OpenAiResponsesWireOptions {
  /** Default `system`; reasoning models of OpenAI read it as `developer`, and some endpoints accept only that. */
  readonly systemRole?: "system" | "developer"
  /**
   * Sends the system messages at the beginning as `instructions`, for endpoints that require them. Without any other message they stay
   * messages. Default `false`: they are the first items of the input.
   */
  readonly instructions?: boolean
  /**
   * What happens to reasoning. `encrypted`: the answer is asked for encrypted reasoning, which goes back to the model that wrote it. `plain`:
   * its text goes back, for servers that run open models. `off`: neither; models that do not reason refuse to be asked for it.
   * Default: `off` for models of OpenAI that do not reason, by their name (`gpt-4.1`, `gpt-5-chat-latest`), else `encrypted`.
   * @see https://github.com/OpenHands/software-agent-sdk/pull/1208 (2026-11): "Encrypted content is not supported with this model."
   */
  readonly reasoning?: "encrypted" | "plain" | "off"
  /**
   * Sends `temperature` and `top_p`. Reasoning models refuse both; those of GPT-5.1 to 5.x accept them with the effort `none`. Default: `false` with
   * `reasoning: "encrypted"`, unless the effort is `none` and the model may accept them; else `true`. What `generation.providerOptions` or `extraBody` has is always sent.
   * @see https://github.com/OpenHands/software-agent-sdk/issues/1837 (2026-11): "'temperature' is not supported with this model."
   */
  readonly sampling?: boolean
  /**
   * Where the images and files of a result are. `result`: in it. `message`: in a message of the user after it, for endpoints that accept
   * only text as a result. Default `result`.
   */
  readonly resultAttachments?: "result" | "message"
  /**
   * The media types of images that the endpoint accepts. A text replaces any other: one SVG would make it refuse every later request of the
   * thread. Default: JPEG, PNG, GIF and WebP.
   * @see https://github.com/open-webui/open-webui/issues/30100 (2026-11): the formats in OpenAI's refusal
   */
  readonly imageTypes?: readonly string[]
  /**
   * The media types of files that the endpoint accepts. A text replaces any other. Default: only `application/pdf`.
   * @see https://developers.openai.com/api/docs/guides/file-inputs (2026-11)
   */
  readonly fileTypes?: readonly string[]
  /**
   * Further keys for the body, merged after those of `generation.providerOptions`: `reasoning` and `text` key by key, `tools` and `include`
   * after ours. Any other key overrides.
   */
  readonly extraBody?: { readonly [key: string]: Json }
}

/** What one request needs: what its endpoint accepts, and what its host knows. */
export type ResponsesRequestOptions = OpenAiResponsesWireOptions & EncodeOptions

/** The name of this wire in a producer. */
export const OPENAI_RESPONSES = "openai-responses"

/** The provider of an opaque block where the host named none. */
export const DEFAULT_PROVIDER = "openai"
