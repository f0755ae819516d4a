import type { AnthropicProvider } from "@ai-sdk/anthropic"
import type {
  LanguageModelV2,
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3FilePart,
  LanguageModelV3Message,
  LanguageModelV3ToolCallPart,
  LanguageModelV3ToolResultOutput,
} from "@ai-sdk/provider"
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4FilePart,
  LanguageModelV4Message,
  LanguageModelV4ToolCallPart,
  LanguageModelV4ToolResultOutput,
} from "ai-sdk-provider-4"
import { describe, expectTypeOf, test } from "vitest"
import type { CallOptions } from "../../src/hosts/ai-sdk/call-options.ts"
import type { FilePartV3, FilePartV4, ResultFileV3 } from "../../src/hosts/ai-sdk/files.ts"
import type { AiSdkLanguageModel } from "../../src/hosts/ai-sdk/language-model.ts"
import type { CallPart, PromptMessage, ReasoningPart, ResultOutput, TextPart } from "../../src/hosts/ai-sdk/prompt-types.ts"

// What is sent to a language model against the types of the AI SDK, of both versions of its interface.

/** A type without `readonly`, which the types of the AI SDK do not have. */
type Mutable<T> = T extends URL ? T : { -readonly [Key in keyof T]: Mutable<T[Key]> }

/** The results of tools, apart from those that are any JSON. */
type Shown<File> = Exclude<ResultOutput<File>, { readonly type: "json" | "error-json" }>

/** Provider options are any JSON, too. */
type Words = Omit<TextPart, "providerOptions"> | Omit<ReasoningPart, "providerOptions">

type Content<Message, Role> = Extract<Message, { role: Role }> extends { content: (infer Part)[] } ? Part : never

describe("a language model", () => {
  test("is one of either version, or of a provider", () => {
    expectTypeOf<LanguageModelV3>().toExtend<AiSdkLanguageModel>()
    expectTypeOf<LanguageModelV4>().toExtend<AiSdkLanguageModel>()
    expectTypeOf<AnthropicProvider>().toExtend<(modelId: string) => AiSdkLanguageModel>()
    expectTypeOf<LanguageModelV2>().not.toExtend<AiSdkLanguageModel>()
  })
})

describe("the parts of a prompt", () => {
  test("are those of V3", () => {
    expectTypeOf<Mutable<Omit<TextPart, "providerOptions"> | FilePartV3>>().toExtend<Content<LanguageModelV3Message, "user">>()
    expectTypeOf<Mutable<Words>>().toExtend<Content<LanguageModelV3Message, "assistant">>()
    expectTypeOf<keyof CallPart>().toExtend<keyof LanguageModelV3ToolCallPart>()
    expectTypeOf<Mutable<FilePartV3>>().toExtend<LanguageModelV3FilePart>()
    expectTypeOf<Mutable<Shown<ResultFileV3>>>().toExtend<LanguageModelV3ToolResultOutput>()
  })

  test("are those of V4", () => {
    expectTypeOf<Mutable<Omit<TextPart, "providerOptions"> | FilePartV4>>().toExtend<Content<LanguageModelV4Message, "user">>()
    expectTypeOf<Mutable<Words>>().toExtend<Content<LanguageModelV4Message, "assistant">>()
    expectTypeOf<keyof CallPart>().toExtend<keyof LanguageModelV4ToolCallPart>()
    expectTypeOf<Mutable<FilePartV4>>().toExtend<LanguageModelV4FilePart>()
    expectTypeOf<Mutable<Shown<FilePartV4>>>().toExtend<LanguageModelV4ToolResultOutput>()
  })

  test("have the roles of both", () => {
    expectTypeOf<PromptMessage["role"]>().toEqualTypeOf<LanguageModelV3Message["role"]>()
    expectTypeOf<PromptMessage["role"]>().toEqualTypeOf<LanguageModelV4Message["role"]>()
  })
})

describe("the options of a call", () => {
  /** Wider here than there: a schema is any JSON, an id of a tool any text, and the prompt is checked part by part. */
  type Wider = "prompt" | "tools" | "responseFormat" | "reasoning" | "headers" | "providerOptions"

  test("are those of both", () => {
    expectTypeOf<Mutable<Omit<CallOptions, Wider | "abortSignal">>>().toExtend<Omit<LanguageModelV3CallOptions, Wider>>()
    expectTypeOf<Mutable<Omit<CallOptions, Wider | "abortSignal">>>().toExtend<Omit<LanguageModelV4CallOptions, Wider>>()
    expectTypeOf<keyof Omit<CallOptions, "reasoning">>().toExtend<keyof LanguageModelV3CallOptions>()
    expectTypeOf<keyof CallOptions>().toExtend<keyof LanguageModelV4CallOptions>()
  })
})
