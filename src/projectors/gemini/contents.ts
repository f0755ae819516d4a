import { NO_RESULT } from "../../text.ts"
import type { GeminiContent, GeminiFunctionResponse, GeminiPart } from "./body.ts"

/** A call that waits for its result. */
export interface OpenCall {
  readonly callId: string
  /** Its id on the wire; absent where the endpoint refuses ids. */
  readonly sentId: string | undefined
  /** Its name on the wire. */
  readonly name: string
}

/** What a result says, without the id and the name of its call. */
export type ResultBody = Pick<GeminiFunctionResponse, "response" | "parts">

const BEGINNING: GeminiPart = { text: "[The conversation begins with an answer.]" }
const CONTINUE: GeminiPart = { text: "[Continue.]" }
const EMPTY: GeminiPart = { text: "[The conversation is empty.]" }

/**
 * The contents of a request. User and model take turns, and the user has the first and the last. Each call has exactly one result, and the
 * results are the first parts of the user's content after the calls, in the order of the calls: endpoints that have no ids match them by
 * their order. What the user says between a call and its result follows the results.
 */
export class Contents {
  readonly #contents: { role: GeminiContent["role"]; parts: GeminiPart[] }[] = []
  #open: readonly OpenCall[] = []
  readonly #results = new Map<OpenCall, ResultBody>()
  #later: GeminiPart[] = []

  /** Adds an answer of the model with its calls. */
  addModel(parts: readonly GeminiPart[], calls: readonly OpenCall[]): void {
    if (parts.length === 0) return
    this.#close()
    this.#push("model", parts)
    this.#open = calls
  }

  /** Adds the result of an open call. Returns false if there is no such call, or it has a result. */
  addResult(callId: string, result: ResultBody): boolean {
    const call = this.#open.find((open) => open.callId === callId && !this.#results.has(open))
    if (call === undefined) return false
    this.#results.set(call, result)
    return true
  }

  /** Adds what the user says. */
  addUser(parts: readonly GeminiPart[]): void {
    if (this.#open.length > 0) this.#later.push(...parts)
    else this.#push("user", parts)
  }

  /** Ends the conversation and returns its contents. */
  end(): readonly GeminiContent[] {
    this.#close()
    if (this.#contents.length === 0) this.#push("user", [EMPTY])
    if (this.#contents.at(-1)?.role === "model") this.#push("user", [CONTINUE])
    return this.#contents
  }

  #close(): void {
    this.#push(
      "user",
      this.#open.map((call): GeminiPart => {
        const { response, parts } = this.#results.get(call) ?? { response: { error: NO_RESULT } }
        return {
          functionResponse: {
            ...(call.sentId !== undefined && { id: call.sentId }),
            name: call.name,
            response,
            ...(parts !== undefined && parts.length > 0 && { parts }),
          },
        }
      }),
    )
    this.#push("user", this.#later)
    this.#open = []
    this.#results.clear()
    this.#later = []
  }

  #push(role: GeminiContent["role"], parts: readonly GeminiPart[]): void {
    if (parts.length === 0) return
    const last = this.#contents.at(-1)
    if (last?.role === role) last.parts.push(...parts)
    else {
      if (last === undefined && role === "model") this.#contents.push({ role: "user", parts: [BEGINNING] })
      this.#contents.push({ role, parts: [...parts] })
    }
  }
}
