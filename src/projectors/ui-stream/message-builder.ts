import type { UiChunk, UiMessage, UiMessageMetadata, UiPart, UiToolPart } from "./chunks.ts"

type Changeable<Value> = { -readonly [Key in keyof Value]: Value[Key] }

/** Builds a message from its chunks, as `readUIMessageStream` of the AI SDK does. */
export class MessageBuilder {
  readonly #id: string
  readonly #parts: UiPart[] = []
  /** The places of the texts that are open, by their id. */
  readonly #texts = new Map<string, number>()
  /** The place of the last part of each call. */
  readonly #calls = new Map<string, number>()
  #metadata: UiMessageMetadata | undefined

  constructor(id: string) {
    this.#id = id
  }

  /** Whether nothing was shown yet. */
  get isEmpty(): boolean {
    return this.#parts.length === 0
  }

  build(): UiMessage {
    return { id: this.#id, role: "assistant", ...(this.#metadata !== undefined && { metadata: this.#metadata }), parts: [...this.#parts] }
  }

  add(chunk: UiChunk): void {
    switch (chunk.type) {
      case "start-step":
        this.#parts.push({ type: "step-start" })
        break
      case "text-start":
      case "reasoning-start": {
        this.#texts.set(chunk.id, this.#parts.length)
        const isText = chunk.type === "text-start"
        this.#parts.push({ type: isText ? "text" : "reasoning", ...(!isText && { id: chunk.id }), text: "", state: "streaming" })
        break
      }
      case "text-delta":
      case "reasoning-delta":
        this.#changeText(chunk.id, (part) => ({ ...part, text: part.text + chunk.delta }))
        break
      case "text-end":
      case "reasoning-end":
        this.#changeText(chunk.id, (part) => ({ ...part, state: "done" }))
        break
      case "tool-input-available":
      case "tool-input-error":
        this.#input(chunk)
        break
      case "tool-approval-request":
        this.#changeCall(chunk.toolCallId, {
          state: "approval-requested",
          approval: { id: chunk.approvalId, signature: chunk.signature },
        })
        break
      case "tool-output-available":
        this.#changeCall(chunk.toolCallId, { state: "output-available", output: chunk.output, errorText: undefined })
        break
      case "tool-output-error":
        this.#changeCall(chunk.toolCallId, { state: "output-error", errorText: chunk.errorText, output: undefined })
        break
      case "tool-output-denied":
        this.#changeCall(chunk.toolCallId, { state: "output-denied" })
        break
      case "file":
        this.#parts.push({ type: "file", mediaType: chunk.mediaType, url: chunk.url })
        break
      case "start":
      case "finish":
      case "message-metadata":
        if (chunk.messageMetadata !== undefined) this.#metadata = { ...this.#metadata, ...chunk.messageMetadata }
        break
      case "finish-step":
      case "abort":
      case "error":
        break
      default:
        if (chunk.transient !== true) this.#data(chunk)
    }
  }

  #changeText(id: string, change: (part: Extract<UiPart, { type: "text" | "reasoning" }>) => UiPart): void {
    const place = this.#texts.get(id)
    const part = place === undefined ? undefined : this.#parts[place]
    if (place !== undefined && (part?.type === "text" || part?.type === "reasoning")) this.#parts[place] = change(part)
  }

  #input(chunk: Extract<UiChunk, { type: "tool-input-available" | "tool-input-error" }>): void {
    const { type, toolCallId, toolName, input, dynamic } = chunk
    const isError = type === "tool-input-error"
    const shown: Changeable<UiToolPart> = {
      ...(dynamic === true ? { type: "dynamic-tool" as const, toolName } : { type: `tool-${toolName}` as const }),
      toolCallId,
      state: isError ? "output-error" : "input-available",
      ...(isError && dynamic !== true ? { rawInput: input } : { input }),
    }
    if (isError) shown.errorText = chunk.errorText
    const place = this.#calls.get(toolCallId)
    const known = place === undefined || this.#isBeforeStep(place) ? undefined : (this.#parts[place] as UiToolPart)
    if (place === undefined || known === undefined) {
      this.#calls.set(toolCallId, this.#parts.length)
      this.#parts.push(shown)
    } else {
      this.#parts[place] = { ...shown, ...(known.approval !== undefined && { approval: known.approval }) }
    }
  }

  /** Another step may have a call with the same id. */
  #isBeforeStep(place: number): boolean {
    return this.#parts.slice(place).some(({ type }) => type === "step-start")
  }

  #changeCall(toolCallId: string, change: { readonly [Key in keyof UiToolPart]?: UiToolPart[Key] | undefined }): void {
    const place = this.#calls.get(toolCallId)
    if (place === undefined) return
    const changed: Record<string, unknown> = { ...(this.#parts[place] as UiToolPart), ...change }
    for (const [key, value] of Object.entries(changed)) if (value === undefined) delete changed[key]
    this.#parts[place] = changed as unknown as UiToolPart
  }

  #data({ type, id, data }: Extract<UiChunk, { type: `data-${string}` }>): void {
    const part: UiPart = { type, ...(id !== undefined && { id }), data }
    const place = id === undefined ? -1 : this.#parts.findIndex((known) => known.type === type && "id" in known && known.id === id)
    if (place < 0) this.#parts.push(part)
    else this.#parts[place] = part
  }
}
