import type { Attributes } from "@opentelemetry/api"
import type { TurnEvent } from "../../wire/event.ts"
import type { EffectContext, SentRequest } from "../host.ts"
import { quietly } from "./quietly.ts"

/**
 * Measures the answer to a model call as it arrives. A client says with `context.sent` and `context.received` what it sends and when pieces
 * arrive; of another client, what it emits counts as pieces of a stream.
 */
export class ChunkClock {
  /** Wraps the members of a context by which a client says what happens. */
  readonly patch: {
    readonly sent: (next: NonNullable<EffectContext["sent"]>, request: SentRequest) => void
    readonly received: (next: NonNullable<EffectContext["received"]>) => void
  }
  readonly #onChunk: (seconds: number) => void
  /** When the request of the current attempt was sent, in milliseconds. */
  #sentAt: number = performance.now()
  #sent: SentRequest | undefined
  /** Pieces of this attempt. */
  #chunks = 0
  #lastChunkAt = 0
  /** Seconds from the request of the last attempt to the first piece of its answer; `undefined`: none has arrived. */
  firstChunkSeconds: number | undefined

  /** `onChunk` is called for each piece after the first, with the seconds since the one before. */
  constructor(onChunk: (seconds: number) => void) {
    this.#onChunk = onChunk
    this.patch = {
      sent: (next, request) => {
        this.#begin(request)
        next(request)
      },
      received: (next) => {
        this.#arrived()
        next()
      },
    }
  }

  /** Sees each event that the client emits. */
  emitted({ type }: TurnEvent): void {
    if (this.#sent === undefined && (type === "text_delta" || type === "reasoning_delta")) this.#arrived()
  }

  /** Attributes of the call's span. */
  get attributes(): Attributes {
    const isStreamed = this.#sent?.stream ?? this.#chunks > 0
    return {
      ...this.server,
      ...(isStreamed && { "gen_ai.request.stream": true }),
      ...(this.firstChunkSeconds !== undefined && { "gen_ai.response.time_to_first_chunk": this.firstChunkSeconds }),
    }
  }

  /** The server, as attributes of the call's span and of its metrics. */
  get server(): Attributes {
    const { address, port } = this.#sent ?? {}
    return address === undefined ? {} : { "server.address": address, ...(port !== undefined && { "server.port": port }) }
  }

  #begin(request: SentRequest): void {
    this.#sent = request
    this.#sentAt = performance.now()
    this.#chunks = 0
    this.firstChunkSeconds = undefined
  }

  #arrived(): void {
    const now = performance.now()
    this.#chunks += 1
    if (this.#chunks === 1) this.firstChunkSeconds = (now - this.#sentAt) / 1_000
    else quietly(() => this.#onChunk((now - this.#lastChunkAt) / 1_000))
    this.#lastChunkAt = now
  }
}
