import type OpenAI from "openai"
import { describe, expectTypeOf, test } from "vitest"
import type {
  OpenAiResponsesBody,
  ResponsesCall,
  ResponsesContent,
  ResponsesFormat,
  ResponsesInputMessage,
  ResponsesOutputMessage,
  ResponsesReasoning,
  ResponsesResult,
  ResponsesTool,
} from "../../src/projectors/openai-responses/index.ts"

// The body against the types of OpenAI's SDK, which are generated from its API reference.

type Official = OpenAI.Responses.ResponseCreateParams
type Item = OpenAI.Responses.ResponseInputItem

/** A type without `readonly`, which the SDK's types do not have. */
type Mutable<T> = { -readonly [Key in keyof T]: Mutable<T[Key]> }

/** The keys of the body that have a name here. */
type Named<T> = { [Key in keyof T as string extends Key ? never : Key]: T[Key] }

/** Wider here than there: a schema is any JSON, other providers have other efforts, and items of the provider's own go back raw. */
type Wider = "input" | "tools" | "text" | "reasoning" | "include"

describe("a Responses body", () => {
  test("is what the SDK accepts", () => {
    expectTypeOf<Mutable<Omit<Named<OpenAiResponsesBody>, Wider>>>().toExtend<Omit<Official, Wider>>()
    expectTypeOf<keyof Named<OpenAiResponsesBody>>().toExtend<keyof Official>()
    expectTypeOf<"reasoning.encrypted_content">().toExtend<OpenAI.Responses.ResponseIncludable>()
  })

  test("has items that the SDK accepts", () => {
    expectTypeOf<Mutable<ResponsesInputMessage>>().toExtend<Item>()
    expectTypeOf<Mutable<ResponsesCall>>().toExtend<OpenAI.Responses.ResponseFunctionToolCall>()
    expectTypeOf<Mutable<ResponsesResult>>().toExtend<Extract<Item, { type: "function_call_output" }>>()
    // An id that is too long is left out, which the SDK's type does not have.
    expectTypeOf<Mutable<ResponsesReasoning & { id: string }>>().toExtend<OpenAI.Responses.ResponseReasoningItem>()
    expectTypeOf<Mutable<ResponsesContent>>().toExtend<OpenAI.Responses.ResponseInputContent>()
    expectTypeOf<Mutable<Omit<ResponsesOutputMessage, "content">>>().toExtend<Omit<OpenAI.Responses.ResponseOutputMessage, "content">>()
    expectTypeOf<ResponsesOutputMessage["content"][number]["type"]>().toEqualTypeOf<
      OpenAI.Responses.ResponseOutputMessage["content"][number]["type"]
    >()
  })

  test("has tools and formats that the SDK accepts, apart from JSON that is wider", () => {
    type Tool = Omit<ResponsesTool, "parameters"> & { parameters: { [key: string]: unknown } }
    expectTypeOf<Tool>().toExtend<OpenAI.Responses.FunctionTool>()
    type Schema = Extract<ResponsesFormat, { type: "json_schema" }>
    expectTypeOf<Omit<Schema, "schema"> & { schema: { [key: string]: unknown } }>().toExtend<OpenAI.Responses.ResponseFormatTextJSONSchemaConfig>()
    expectTypeOf<Extract<ResponsesFormat, { type: "json_object" }>>().toExtend<OpenAI.ResponseFormatJSONObject>()
  })

  test("cannot have what the API does not know", () => {
    // @ts-expect-error a part of a user's message is not a part of an answer
    const _part: ResponsesContent = { type: "output_text", text: "x" }
    // @ts-expect-error a result names its call
    const _result: ResponsesResult = { type: "function_call_output", output: "x" }
  })
})
