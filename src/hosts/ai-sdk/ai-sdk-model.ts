import { malformed } from "../../projectors/wires/failure.ts"
import { sentToolNames, ToolNames } from "../../projectors/wires/tool-names.ts"
import { isRecord, textOf } from "../../projectors/wires/values.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmRequest, LlmResponse } from "../../wire/llm.ts"
import type { Producer } from "../../wire/message.ts"
import type { AttachmentStore } from "../attachments/store.ts"
import { type EffectContext, type Host, LlmCallError } from "../host.ts"
import { checkKnown, checkLimits } from "../models/check-options.ts"
import { CANCELLED } from "../models/network-failures.ts"
import { orAborted } from "../models/retry.ts"
import { redactFailure, redactor } from "../models/secrets.ts"
import { type RetryOptions, retryOptions, withRetry } from "../models/with-retry.ts"
import { onAbort, sleep, timerMs } from "../timers.ts"
import { Answer } from "./answer.ts"
import { type CallOptions, callOptions } from "./call-options.ts"
import { failureOf } from "./failure.ts"
import { FILES_V3, FILES_V4, loadFiles } from "./files.ts"
import { type AiSdkLanguageModel, type AiSdkProviderTool, dialectOf, type ProviderOptions } from "./language-model.ts"
import { promptOf } from "./prompt.ts"

/** Options of {@link aiSdkModel}. */
export interface AiSdkModelOptions extends RetryOptions {
  /** Whether the answer is streamed (`doStream`), or comes as a whole (`doGenerate`). Default `true`. */
  readonly stream?: boolean
  /** Options by the name of a provider, such as `{ openai: { store: false } }`. Those of `generation.providerOptions` override them. */
  readonly providerOptions?: ProviderOptions
  /** Tools that the provider defines, by the name that the model calls: `{ web_search: anthropic.tools.webSearch_20250305({ maxUses: 3 }) }`. */
  readonly providerTools?: Readonly<Record<string, AiSdkProviderTool>>
  /** More headers. Their values are secret: they never appear in errors or events. */
  readonly headers?: Readonly<Record<string, string>>
  /** Other texts that never appear in errors or events, such as the key that the provider's package was given: a server may quote it. */
  readonly secrets?: readonly string[]
  /**
   * Where the bytes of images and files are. They are sent in the request, and files that the model generates are stored there. Absent: the
   * model reads a line about each, and generated files stay in the transcript in base64.
   */
  readonly attachments?: AttachmentStore
  /** The media types of files that the model accepts besides images, such as `audio/*`. A text replaces any other. Default: only `application/pdf`. */
  readonly fileTypes?: readonly string[]
  /**
   * Whether images and files of a tool's result are sent in it. Elsewhere they follow in a message of the user. Default: for Anthropic, Google
   * and OpenAI's Responses, because other provider packages send such a result as JSON text.
   */
  readonly filesInResults?: boolean
  /** The role of system messages after the beginning, such as notes of a driver. Default `user`: some provider packages refuse later system messages. */
  readonly laterSystem?: "user" | "system"
  /** The longest time for one attempt, in milliseconds. Default 600,000 (ten minutes). */
  readonly timeoutMs?: number
  /**
   * The longest time without a part of the stream, in milliseconds. The AI SDK passes on no keep-alive messages, so a model that thinks long is
   * silent. Default 300,000 (five minutes).
   */
  readonly idleTimeoutMs?: number
  /** Adds the request's body to answers and failures, for the trace log. Journals grow with it. Default `false`. */
  readonly keepRequestBody?: boolean
  /** The name in `producer`, which is stored with every answer. Default: the model's `provider`. */
  readonly provider?: string
}

/** Milliseconds after an error in which a stream may still report its usage. */
const USAGE_WAIT_MS = 3_000

/**
 * Creates a model client from a language model of the AI SDK, and so for each of its providers. Spread it into a host:
 * `{ ...aiSdkModel(anthropic("claude-sonnet-4-5")), tools }`. From a provider, or any function, the model is chosen by the `model` of the
 * turn's config: `aiSdkModel(anthropic)`.
 *
 * What a provider wants back (signatures, encrypted reasoning, ids of its items) is in the `providerMetadata` of each part and goes back to the
 * same provider and model as `providerOptions`; a message of another producer goes without. Parts that have no name here, such as tools that
 * the provider runs, are `opaque`. Warnings of the AI SDK are `message` events of the kind `diagnostic`.
 *
 * Failed attempts are retried as those of `openAiCompatible`, with the same events; the AI SDK's own retries are not used. After the last one
 * `llmCall` throws {@link LlmCallError}, with what the model said until then in `partial`. Its codes are those of
 * `openAiCompatible`, and `unsupported_functionality`, `invalid_prompt`, `invalid_argument`, `no_such_model`, `no_api_key`, `no_setting` and
 * `unknown_error`.
 * @throws {TypeError} not a language model of the interface V3 or V4, or an unknown option
 * @throws {RangeError} a time or count that is not a number of at least 0; `Infinity` is allowed
 */
export function aiSdkModel(
  model: AiSdkLanguageModel | ((modelId: string) => AiSdkLanguageModel),
  options: AiSdkModelOptions = {},
): Pick<Host, "llmCall"> {
  checkOptions(options)
  // A provider is a function with members; a model is an object.
  if (typeof model !== "function") checkModel(model)
  const redact = redactor([...Object.values(options.headers ?? {}), ...(options.secrets ?? [])])
  const single: Pick<Host, "llmCall"> = {
    llmCall: async ({ request }: LlmCall, context: EffectContext) =>
      new Attempt(chosen(model, request, redact), request, context, options, redact).run(),
  }
  return withRetry(single, retryOptions(options))
}

type Redact = (text: string) => string

function chosen(
  model: AiSdkLanguageModel | ((modelId: string) => AiSdkLanguageModel),
  { model: name }: LlmRequest,
  redact: Redact,
): AiSdkLanguageModel {
  if (typeof model !== "function") return model
  try {
    const found = model(name)
    checkModel(found)
    return found
  } catch (cause) {
    throw new LlmCallError(failureOf(cause, { nowMs: 0, redact }), { cause })
  }
}

/** One call of the language model. */
class Attempt {
  readonly #model: AiSdkLanguageModel
  readonly #request: LlmRequest
  readonly #context: EffectContext
  readonly #options: AiSdkModelOptions
  readonly #now: () => number
  readonly #redact: Redact
  readonly #controller = new AbortController()
  readonly #producer: Producer
  readonly #answer: Answer
  #requestBody: string | undefined

  constructor(model: AiSdkLanguageModel, request: LlmRequest, context: EffectContext, options: AiSdkModelOptions, redact: Redact) {
    const { now = Date.now, provider = model.provider, stream: streamed = true } = options
    this.#model = model
    this.#request = request
    this.#context = context
    this.#options = options
    this.#now = now
    this.#redact = redact
    this.#producer = { provider, api: "ai-sdk", model: model.modelId }
    this.#answer = new Answer({
      producer: this.#producer,
      toolNames: sentToolNames(request),
      streamed,
      failureOf: (error) => failureOf(error, { nowMs: now(), redact }),
      redact,
    })
  }

  async run(): Promise<LlmResponse> {
    const { attachments, timeoutMs = 600_000 } = this.#options
    const timer = setTimeout(() => this.#stop(timedOut(timeoutMs)), timerMs(timeoutMs))
    const stopWaiting = onAbort(this.#context.signal, () => this.#stop(CANCELLED))
    let failure: LlmFailure | undefined
    try {
      await this.#read()
    } catch (error) {
      const { signal } = this.#controller
      // After an abort the signal's reason says more than the error that it led to.
      failure = failureOf(signal.aborted ? signal.reason : error, { nowMs: this.#now(), redact: this.#redact })
    } finally {
      clearTimeout(timer)
      stopWaiting()
      this.#controller.abort()
    }
    if (attachments !== undefined) await this.#answer.storeFiles(attachments)
    const result = failure === undefined ? this.#answer.finish() : this.#answer.cutOff(failure)
    const trace = this.#requestBody === undefined ? {} : { requestBody: this.#requestBody }
    if (result.ok) return { ...result.response, ...trace }
    throw new LlmCallError(redactFailure({ ...result.error, ...trace }, this.#redact), { partial: result.partial })
  }

  async #read(): Promise<void> {
    const { signal } = this.#controller
    const options = await this.#callOptions(signal)
    this.#context.sent?.({ stream: this.#options.stream !== false })
    if (this.#options.stream === false) {
      const result = await orAborted(Promise.resolve(this.#model.doGenerate(options as never)), signal)
      this.#keepBody(result)
      this.#emit(this.#answer.addResult(result))
      return
    }
    const result = await orAborted(Promise.resolve(this.#model.doStream(options as never)), signal)
    this.#keepBody(result)
    const stream = isRecord(result) ? result["stream"] : undefined
    if (!(stream instanceof ReadableStream)) throw new LlmCallError(malformed("it has no stream"))
    await this.#readStream(stream as ReadableStream<unknown>, signal)
  }

  /** Reads parts until the last one. After an error, only the usage may still come. */
  async #readStream(stream: ReadableStream<unknown>, signal: AbortSignal): Promise<void> {
    const { idleTimeoutMs = 300_000 } = this.#options
    const reader = stream.getReader()
    let timer: ReturnType<typeof setTimeout> | undefined
    try {
      while (!this.#answer.complete) {
        clearTimeout(timer)
        const hasFailed = this.#answer.failed
        const waited = hasFailed ? sleep(USAGE_WAIT_MS, signal).then(() => END) : undefined
        if (!hasFailed) timer = setTimeout(() => this.#stop(silent(idleTimeoutMs)), timerMs(idleTimeoutMs))
        const read = orAborted(reader.read(), signal)
        const { done, value } = waited === undefined ? await read : await Promise.race([read, waited])
        if (done) return
        // The packages begin a stream with a part of their own, before anything has arrived.
        if (!isRecord(value) || value["type"] !== "stream-start") this.#context.received?.()
        this.#emit(this.#answer.push(value))
      }
    } catch (error) {
      // The answer has failed before.
      if (!this.#answer.failed || signal.aborted) throw error
    } finally {
      clearTimeout(timer)
      reader.cancel().catch(() => undefined)
    }
  }

  async #callOptions(signal: AbortSignal): Promise<CallOptions> {
    const { attachments, fileTypes = ["application/pdf"], headers, laterSystem = "user", providerOptions, providerTools = {} } = this.#options
    const model = this.#model
    const dialect = dialectOf(model.provider)
    const names = new ToolNames(this.#request.tools)
    const prompt = promptOf(this.#request, {
      producer: this.#producer,
      dialect,
      names,
      files: model.specificationVersion === "v3" ? FILES_V3 : FILES_V4,
      loaded: await orAborted(loadFiles(attachments, this.#request), signal),
      fileTypes,
      filesInResults: this.#options.filesInResults ?? dialect.filesInResults,
      laterSystem,
    })
    return callOptions(this.#request, prompt, signal, { model, dialect, names, providerTools, providerOptions, headers })
  }

  #keepBody(result: unknown): void {
    if (this.#options.keepRequestBody !== true || !isRecord(result) || !isRecord(result["request"])) return
    this.#requestBody = textOf(result["request"]["body"])
  }

  #emit(events: readonly TurnEvent[]): void {
    for (const event of events) this.#context.emit(event)
  }

  #stop(failure: LlmFailure): void {
    this.#controller.abort(new LlmCallError(failure))
  }
}

const END = { done: true, value: undefined } as const

function timedOut(ms: number): LlmFailure {
  const message = `The model did not complete its answer within ${ms / 1_000} seconds.`
  return { message, retryable: true, code: "timeout", kind: "timeout", terminalReason: "provider_error" }
}

function silent(ms: number): LlmFailure {
  const message = `The model sent nothing for ${ms / 1_000} seconds.`
  return { message, retryable: true, code: "idle_timeout", kind: "timeout", terminalReason: "provider_error" }
}

/** @throws {TypeError} another interface: models of ai 5 have the version `v2` */
function checkModel(model: unknown): asserts model is AiSdkLanguageModel {
  const { doGenerate, doStream, specificationVersion } = (model ?? {}) as { readonly [Name in keyof AiSdkLanguageModel]?: unknown }
  if (typeof model === "string")
    throw new TypeError(`aiSdkModel takes a language model, such as openai("gpt-5"), not the name ${JSON.stringify(model)}.`)
  if (typeof doGenerate !== "function" || typeof doStream !== "function")
    throw new TypeError('aiSdkModel takes a language model of the AI SDK, such as openai("gpt-5").')
  if (specificationVersion === "v3" || specificationVersion === "v4") return
  throw new TypeError(`aiSdkModel takes language models of the versions v3 (ai 6) and v4 (ai 7), not ${JSON.stringify(specificationVersion)}.`)
}

const OPTIONS: { readonly [Option in keyof Required<AiSdkModelOptions>]: true } = {
  stream: true,
  providerOptions: true,
  providerTools: true,
  headers: true,
  secrets: true,
  attachments: true,
  fileTypes: true,
  filesInResults: true,
  laterSystem: true,
  timeoutMs: true,
  idleTimeoutMs: true,
  keepRequestBody: true,
  provider: true,
  maxRetries: true,
  maxRetryWaitMs: true,
  afterText: true,
  now: true,
  random: true,
  sleep: true,
}

function checkOptions(options: AiSdkModelOptions): void {
  checkKnown("aiSdkModel", options, Object.keys(OPTIONS), { timeout: "timeoutMs", tools: "providerTools" })
  checkLimits(options, ["timeoutMs", "idleTimeoutMs"])
  const { secrets = [] } = options
  if (!Array.isArray(secrets) || secrets.some((secret) => typeof secret !== "string")) throw new TypeError("secrets must be a list of texts.")
  for (const [name, tool] of Object.entries(options.providerTools ?? {}))
    if (typeof tool?.id !== "string" || typeof tool.args !== "object" || tool.args === null)
      throw new TypeError(
        `The provider tool ${JSON.stringify(name)} has no id and args. Give what the provider's package makes, such as anthropic.tools.….`,
      )
}
