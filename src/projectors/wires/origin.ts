import type { LlmRequest } from "../../wire/llm.ts"
import type { Producer } from "../../wire/message.ts"

/** Who wrote a message, as seen by the endpoint: the same model, another one, or unknown. */
export type Origin = "same" | "other" | "unknown"

/** What a message's producer must have to be the endpoint itself. What is absent counts as equal, the model as the request's. */
export type OwnProducer = Partial<Pick<Producer, "provider" | "api" | "model">>

/**
 * Returns whether a message was written by the model that will read it.
 * @param producer the message's
 * @param own the endpoint's
 * @param api the name of its wire
 */
export function originOf(producer: Producer | undefined, own: OwnProducer | undefined, api: string, { model: requested }: LlmRequest): Origin {
  if (producer === undefined) return "unknown"
  const { api: ownApi = api, model = requested, provider = producer.provider } = own ?? {}
  return producer.api === ownApi && producer.model === model && producer.provider === provider ? "same" : "other"
}
