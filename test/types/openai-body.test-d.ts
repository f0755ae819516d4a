import type OpenAI from "openai"
import { describe, expectTypeOf, test } from "vitest"
import type { OpenAiChatBody, OpenAiContentPart, OpenAiMessage, OpenAiTool, OpenAiToolCall } from "../../src/projectors/openai-chat/index.ts"

// The body against the types of OpenAI's SDK, which are generated from its API reference.

type Official = OpenAI.Chat.Completions.ChatCompletionCreateParams

/** A type without `readonly`, which the SDK's types do not have. */
type Mutable<T> = { -readonly [Key in keyof T]: Mutable<T[Key]> }

/** The keys of the body that have a name here. */
type Named<T> = { [Key in keyof T as string extends Key ? never : Key]: T[Key] }

/** Wider here than there: a schema is any JSON, and other providers have other efforts. */
type Wider = "tools" | "response_format" | "reasoning_effort"

describe("a Chat Completions body", () => {
  test("is what the SDK accepts", () => {
    expectTypeOf<Mutable<Omit<Named<OpenAiChatBody>, Wider>>>().toExtend<Omit<Official, Wider>>()
    expectTypeOf<keyof Named<OpenAiChatBody>>().toExtend<keyof Official>()
  })

  test("has messages, parts and calls that the SDK accepts", () => {
    expectTypeOf<Mutable<OpenAiMessage>>().toExtend<OpenAI.Chat.Completions.ChatCompletionMessageParam>()
    expectTypeOf<Mutable<OpenAiContentPart>>().toExtend<OpenAI.Chat.Completions.ChatCompletionContentPart>()
    expectTypeOf<Mutable<OpenAiToolCall>>().toExtend<OpenAI.Chat.Completions.ChatCompletionMessageFunctionToolCall>()
  })

  test("has tools and formats that the SDK accepts, apart from schemas that are not objects", () => {
    type Function = Omit<OpenAiTool["function"], "parameters"> & { parameters: { [key: string]: unknown } }
    expectTypeOf<{ type: OpenAiTool["type"]; function: Function }>().toExtend<OpenAI.Chat.Completions.ChatCompletionFunctionTool>()
    type Format = NonNullable<OpenAiChatBody["response_format"]>
    expectTypeOf<Mutable<Extract<Format, { type: "json_object" }>>>().toExtend<NonNullable<Official["response_format"]>>()
    type Schema = Extract<Format, { type: "json_schema" }>["json_schema"]
    expectTypeOf<{
      type: "json_schema"
      json_schema: Omit<Schema, "schema"> & { schema: { [key: string]: unknown } }
    }>().toExtend<NonNullable<Official["response_format"]>>()
    expectTypeOf<Mutable<NonNullable<OpenAiChatBody["stream_options"]>>>().toExtend<OpenAI.Chat.Completions.ChatCompletionStreamOptions>()
  })

  test("cannot have what the API does not know", () => {
    // @ts-expect-error a part is of a known type
    const _part: OpenAiContentPart = { type: "image", image: "x" }
    // @ts-expect-error a result names its call
    const _result: OpenAiMessage = { role: "tool", content: "x" }
  })
})
