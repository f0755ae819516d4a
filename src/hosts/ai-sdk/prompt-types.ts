import type { Json } from "../../json.ts"
import type { ProviderOptions } from "./language-model.ts"

/** What every part of a prompt may have. */
interface WithOptions {
  readonly providerOptions?: ProviderOptions
}

export type TextPart = WithOptions & { readonly type: "text"; readonly text: string }
export type ReasoningPart = WithOptions & { readonly type: "reasoning"; readonly text: string }
export type CallPart = WithOptions & {
  readonly type: "tool-call"
  readonly toolCallId: string
  readonly toolName: string
  readonly input: Json
  readonly providerExecuted?: boolean
}
export type ResultPart<File = unknown> = WithOptions & {
  readonly type: "tool-result"
  readonly toolCallId: string
  readonly toolName: string
  readonly output: ResultOutput<File>
}
export type ResultOutput<File = unknown> =
  | { readonly type: "text" | "error-text"; readonly value: string }
  | { readonly type: "json" | "error-json"; readonly value: Json }
  | { readonly type: "content"; readonly value: readonly ({ readonly type: "text"; readonly text: string } | File)[] }

/** The files of an interface version: in messages, and in the results of tools. */
export interface Files {
  readonly part: unknown
  readonly inResult: unknown
}

/** A part of an answer that the provider gets back, and that the interface has no other name for. */
export type OtherPart = WithOptions & { readonly type: "custom" | "reasoning-file" }

/** One message of a prompt, for either version of the interface. */
export type PromptMessage<Of extends Files = Files> = WithOptions &
  (
    | { readonly role: "system"; readonly content: string }
    | { readonly role: "user"; readonly content: readonly (TextPart | Of["part"])[] }
    | {
        readonly role: "assistant"
        readonly content: readonly (TextPart | ReasoningPart | CallPart | ResultPart<Of["inResult"]> | OtherPart | Of["part"])[]
      }
    | { readonly role: "tool"; readonly content: readonly ResultPart<Of["inResult"]>[] }
  )
