import { type Json, parseJson } from "../../json.ts"
import type { OpaqueBlock, ReasoningBlock, TextBlock, ToolCallBlock } from "../../wire/llm.ts"
import type { Origin } from "../wires/origin.ts"
import { isRecord } from "../wires/values.ts"
import { sentArguments } from "../wires/well-formed.ts"
import type { GeminiPart } from "./body.ts"
import type { OpenCall } from "./contents.ts"
import { sentExtras } from "./parts.ts"
import { isSignature, NO_SIGNATURE } from "./signature.ts"

/** The parts of one answer on the wire, in the order in which the model said them. */
export class ModelParts {
  readonly from: Origin
  readonly parts: GeminiPart[] = []
  readonly calls: OpenCall[] = []
  /** Where the first call is. */
  #firstCall: number | undefined

  constructor(from: Origin) {
    this.from = from
  }

  add(parts: readonly GeminiPart[]): void {
    this.parts.push(...parts)
  }

  addText({ providerMetadata, text }: TextBlock): void {
    const signature = isRecord(providerMetadata) ? this.#signature(providerMetadata["thoughtSignature"]) : {}
    // A signature may come on an empty text.
    if (text === "" && signature.thoughtSignature === undefined) return
    this.parts.push({ ...this.#extras(providerMetadata), text, ...signature })
  }

  /** Adds a thought if it is signed: the endpoint reads nothing from any other. */
  addThought({ providerMetadata, replay, text }: ReasoningBlock): void {
    const signature = this.#signature(replay?.signature)
    if (signature.thoughtSignature !== undefined) this.parts.push({ ...this.#extras(providerMetadata), text, thought: true, ...signature })
  }

  /** @param call the call's id and name on the wire */
  addCall({ inputJson, providerMetadata, replay }: ToolCallBlock, call: OpenCall): void {
    this.#firstCall ??= this.parts.length
    this.calls.push(call)
    this.parts.push({
      ...this.#extras(providerMetadata),
      functionCall: {
        ...(call.sentId !== undefined && { id: call.sentId }),
        name: call.name,
        args: parseJson(sentArguments(inputJson)) as { readonly [key: string]: Json },
      },
      ...this.#signature(replay?.opaque),
    })
  }

  /** Adds a part as it was received. The model's pictures of its thoughts are left out like other thoughts. */
  addRaw({ data }: OpaqueBlock): void {
    const part = data as GeminiPart
    if (part.thought !== true || part.thoughtSignature !== undefined) this.parts.push(part)
  }

  /**
   * Marks the first call of the answer as one of another model if it has no signature. The other calls need none: of parallel calls Gemini
   * signs only the first.
   */
  signCalls(): void {
    const index = this.#firstCall
    if (index === undefined || this.parts[index]?.thoughtSignature !== undefined) return
    this.parts[index] = { ...this.parts[index], thoughtSignature: NO_SIGNATURE }
  }

  #signature(value: unknown): Pick<GeminiPart, "thoughtSignature"> {
    return this.from !== "other" && isSignature(value) ? { thoughtSignature: value } : {}
  }

  #extras(metadata: unknown): GeminiPart {
    return this.from === "other" ? {} : sentExtras(metadata)
  }
}
