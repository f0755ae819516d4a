import type { Json } from "../../json.ts"
import { addKnown, NO_USAGE } from "../../machine/limits.ts"
import { isBlank } from "../../text.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { LlmFailure, LlmFailureKind, LlmRequest, LlmResponse, OpaqueBlock, OutputPart, TokenUsage } from "../../wire/llm.ts"
import { type EffectContext, type Host, LlmCallError } from "../host.ts"
import { checkKnown } from "./check-options.ts"
import { retryStatus, usageOf, withFailure } from "./with-retry.ts"

/** A kind of failure after which another model may answer. */
export type FallbackKind = Exclude<LlmFailureKind, "cancelled" | "invalid_request">

/** Options of {@link fallback}. */
export interface FallbackOptions {
  /**
   * The kinds of failures after which the next model is asked. Default: `rate_limit`, `usage_limit`, `overloaded`, `network`, `timeout` and
   * `auth`; and, whatever their kind, failures that are retryable. Add `context_overflow` if later models have larger windows. A call that was
   * cancelled, and a request that was refused as invalid, are never sent to another model.
   */
  readonly on?: readonly FallbackKind[]
  /**
   * What happens if a model fails after the user was shown a part of its answer. `restart`: the next model answers from the beginning; the
   * shown part stays in the transcript, for people, where no model reads it. `stop`: the failure counts, and the shown part is stored as an
   * interrupted answer. Default `restart`.
   */
  readonly afterText?: "restart" | "stop"
  /** Clock, for tests: milliseconds since the epoch. */
  readonly now?: () => number
}

const DEFAULT_KINDS: readonly FallbackKind[] = ["rate_limit", "usage_limit", "overloaded", "network", "timeout", "auth"]
const KINDS: { readonly [Kind in FallbackKind]: true } = {
  rate_limit: true,
  usage_limit: true,
  overloaded: true,
  auth: true,
  context_overflow: true,
  network: true,
  timeout: true,
  other: true,
}

/**
 * Makes a model client of several: where one fails, the next one answers.
 *
 *     const model = fallback([anthropic({ apiKey }), openAiCompatible({ baseUrl, model: "spare" })])
 *     await runTurn(machine, { ...model, tools })
 *
 * Each client retries first, as it always does; give it `maxRetries: 0` to ask the next one at once. Before the next model is asked,
 * `retry_status` is emitted with the failure; after it the answer begins anew, so a user interface drops the text that it has shown of this
 * answer. The usage of the failed models is in `retriedUsage`. `producer` says who answered, and each wire leaves out what only another
 * producer understands. A model whose failure says when it can be used again is not asked before, unless no other is left.
 *
 * If the last model fails too, its {@link LlmCallError} is thrown, with the usage of all.
 * @throws {TypeError} no models, an unknown option, or a kind that another model cannot help with
 */
export function fallback(models: readonly Pick<Host, "llmCall">[], options: FallbackOptions = {}): Pick<Host, "llmCall"> {
  checkModels(models)
  checkOptions(options)
  const { on = DEFAULT_KINDS, afterText = "restart", now = Date.now } = options
  const kinds: ReadonlySet<LlmFailureKind> = new Set(on)
  /** Until when a model cannot be used, in milliseconds since the epoch. */
  const restingUntil = new Map<number, number>()

  return {
    async llmCall(effect: LlmCall, context: EffectContext): Promise<LlmResponse> {
      const all = models.map((_, index) => index)
      const ready = all.filter((index) => (restingUntil.get(index) ?? 0) <= now())
      const order = ready.length > 0 ? ready : all
      const failed = new FailedAnswers(effect.request)
      for (const [place, index] of order.entries()) {
        const shown = new ShownText(context)
        const error = await asked(models[index] as Pick<Host, "llmCall">, effect, shown.context)
        if (!(error instanceof LlmCallError)) {
          const isOverflow = error.terminalReason === "context_overflow" && kinds.has("context_overflow") && place < order.length - 1
          if (!isOverflow) return failed.completed(error, shown)
        }
        const { failure, partial } = error instanceof LlmCallError ? error : { failure: overflow(error), partial: error }
        if (failure.retryAt !== undefined && failure.retryAt > now()) restingUntil.set(index, failure.retryAt)
        const isLast = place === order.length - 1
        const isShown = !isBlank(shown.text)
        if (isLast || !mayAskAnother(failure, kinds) || context.signal.aborted || (isShown && afterText === "stop")) {
          throw failed.error(error instanceof LlmCallError ? error : new LlmCallError(failure, { partial }), shown)
        }
        failed.add(failure, partial, shown)
        const reason = `${failure.message} Another model answers${isShown ? ", from the beginning" : ""}.`
        context.emit(retryStatus(failure, { attempt: place + 1, maxAttempts: order.length, waitMs: 0, reason }))
      }
      throw new TypeError("A fallback has no models.")
    },
  }
}

/** An answer, or the failure of the call. Any other error is that of an executor, and no other model could help. */
async function asked(model: Pick<Host, "llmCall">, effect: LlmCall, context: EffectContext): Promise<LlmResponse | LlmCallError> {
  try {
    return await model.llmCall(effect, context)
  } catch (error) {
    if (!(error instanceof LlmCallError) || context.isFatal?.(error) === true) throw error
    return error
  }
}

function mayAskAnother({ kind = "other", retryable, terminalReason }: LlmFailure, kinds: ReadonlySet<LlmFailureKind>): boolean {
  if (kind === "cancelled" || kind === "invalid_request" || terminalReason === "cancelled") return false
  if (kind === "context_overflow" || terminalReason === "context_overflow") return kinds.has("context_overflow")
  return kinds.has(kind) || retryable
}

function overflow({ terminalDiagnostic = "The context window of the model is full.", usage }: LlmResponse): LlmFailure {
  const reason = "context_overflow"
  return { message: terminalDiagnostic, retryable: false, code: reason, kind: reason, terminalReason: reason, usage }
}

/** The text that one model has shown of its answer. */
class ShownText {
  text = ""
  readonly context: EffectContext

  constructor(context: EffectContext) {
    this.context = {
      ...context,
      emit: (event) => {
        if (event.type === "text_delta" && !context.signal.aborted) this.text += event.content
        context.emit(event)
      },
    }
  }
}

/** What is known of the models that failed before the one that answers. */
class FailedAnswers {
  readonly #request: LlmRequest
  #usage: TokenUsage | undefined
  /** What the user was shown of answers that were given up. */
  readonly #abandoned: OpaqueBlock[] = []
  #lastShown: LlmResponse | undefined

  constructor(request: LlmRequest) {
    this.#request = request
  }

  add(failure: LlmFailure, partial: LlmResponse | undefined, { text }: ShownText): void {
    this.#usage = addKnown(this.#usage, failure.retriedUsage ?? partial?.retriedUsage, failure.usage ?? usageOf(this.#request, partial))
    if (isBlank(text)) return
    const said = partial === undefined || isBlank(partial.text) ? shownAnswer(text, failure) : partial
    this.#lastShown = said
    this.#abandoned.push(abandonedAnswer(said))
  }

  /** The answer of a model, after those that failed. */
  completed(response: LlmResponse, { context, text }: ShownText): LlmResponse {
    const retriedUsage = addKnown(this.#usage, response.retriedUsage)
    const spent = retriedUsage === undefined ? response : { ...response, retriedUsage }
    if (this.#abandoned.length === 0 || !saysSomething(response)) return spent
    // The turn takes the text of the call as shown, because that of the failed answer was.
    if (text === "" && response.text !== "") context.emit({ type: "text_delta", content: response.text })
    return { ...spent, parts: [...this.#abandoned, ...partsOf(response)] }
  }

  /** The error of the last model, with the usage of all, and with what the user was shown. */
  error(error: LlmCallError, { text }: ShownText): LlmCallError {
    const { failure, partial } = error
    const retriedUsage = addKnown(this.#usage, failure.retriedUsage ?? partial?.retriedUsage)
    const spent: LlmFailure = retriedUsage === undefined ? failure : { ...failure, retriedUsage }
    return withFailure(error, spent, this.#partialOf(error, text))
  }

  #partialOf({ failure, partial }: LlmCallError, text: string): LlmResponse | undefined {
    const shown = this.#lastShown
    if (shown === undefined) return partial
    if (isBlank(text) && (partial === undefined || !saysSomething(partial))) {
      // Nothing came after the last text that was shown. Its usage is among that of the failed models.
      const { retriedUsage: _counted, ...words } = shown
      return { ...words, parts: [...this.#abandoned.slice(0, -1), ...partsOf(words)], usage: partial?.usage ?? NO_USAGE }
    }
    const said = partial ?? shownAnswer(text, failure)
    return { ...said, parts: [...this.#abandoned, ...partsOf(said)] }
  }
}

function shownAnswer(text: string, { terminalReason }: LlmFailure): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage: NO_USAGE, terminalReason }
}

/** No wire has this provider, so no model reads it: the conversation continues as if only the last answer had been given. */
function abandonedAnswer(said: LlmResponse): OpaqueBlock {
  const parts = partsOf(said).filter(({ type }) => type === "text" || type === "reasoning")
  const data: Json = { ...(said.producer !== undefined && { producer: said.producer }), parts: parts as readonly Json[] }
  return { type: "opaque", provider: "turn-machine", kind: "abandoned_answer", data }
}

function partsOf({ parts, text }: LlmResponse): readonly OutputPart[] {
  return text === "" || parts.some(({ type }) => type === "text") ? parts : [{ type: "text", text }, ...parts]
}

function saysSomething({ text, parts }: LlmResponse): boolean {
  return !isBlank(text) || parts.some((part) => part.type === "tool_call" || (part.type === "text" && !isBlank(part.text)))
}

function checkModels(models: unknown): void {
  if (!Array.isArray(models) || models.length === 0) throw new TypeError("fallback takes a list of models: fallback([first, second]).")
  for (const [index, model] of (models as readonly unknown[]).entries()) {
    const { llmCall } = (model ?? {}) as { readonly llmCall?: unknown }
    if (typeof llmCall !== "function") throw new TypeError(`The model ${index} of a fallback has no llmCall. Give what a model client returns.`)
  }
}

function checkOptions(options: FallbackOptions): void {
  checkKnown("fallback", options, ["on", "afterText", "now"])
  const { on = [], afterText = "stop" } = options
  if (afterText !== "restart" && afterText !== "stop") throw new TypeError(`afterText must be "restart" or "stop".`)
  const wrong = on.find((kind) => !Object.hasOwn(KINDS, kind))
  if (wrong !== undefined)
    throw new TypeError(`Another model does not help after the failure ${JSON.stringify(wrong)}; on takes ${Object.keys(KINDS).join(", ")}.`)
}
