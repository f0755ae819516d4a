import type Anthropic from "@anthropic-ai/sdk"
import { describe, expectTypeOf, test } from "vitest"
import type { AnthropicBlock, AnthropicBody, AnthropicMessage, AnthropicText, AnthropicTool } from "../../src/projectors/anthropic-messages/index.ts"

// The body against the types of Anthropic's SDK, which are generated from its API reference.

type Official = Anthropic.MessageCreateParams

/** A type without `readonly`, which the SDK's types do not have. */
type Mutable<T> = { -readonly [Key in keyof T]: Mutable<T[Key]> }

/** The keys of the body that have a name here. */
type Named<T> = { [Key in keyof T as string extends Key ? never : Key]: T[Key] }

/** Wider here than there: schemas and citations are any JSON, and other models have other efforts. */
type Wider = "tools" | "output_config" | "messages" | "system"

/** Accepted by older models only: the reference no longer names them. */
type Older = "temperature" | "top_p"

describe("a Messages body", () => {
  test("is what the SDK accepts", () => {
    expectTypeOf<Mutable<Omit<Named<AnthropicBody>, Wider | Older>>>().toExtend<Omit<Official, Wider>>()
    expectTypeOf<Exclude<keyof Named<AnthropicBody>, Older>>().toExtend<keyof Official>()
  })

  test("has messages and blocks that the SDK accepts", () => {
    type Plain<Block> = Block extends AnthropicText
      ? Omit<Block, "citations">
      : Block extends { type: "tool_result" }
        ? Omit<Block, "content">
        : Block
    expectTypeOf<Mutable<Plain<AnthropicBlock>>>().toExtend<Anthropic.ContentBlockParam>()
    expectTypeOf<AnthropicMessage["role"]>().toExtend<Anthropic.MessageParam["role"]>()
    expectTypeOf<keyof AnthropicText>().toExtend<keyof Anthropic.TextBlockParam>()
    expectTypeOf<keyof Extract<AnthropicBlock, { type: "tool_result" }>>().toExtend<keyof Anthropic.ToolResultBlockParam>()
  })

  test("has tools that the SDK accepts", () => {
    expectTypeOf<Mutable<Omit<AnthropicTool, "input_schema">>>().toExtend<Omit<Anthropic.Tool, "input_schema">>()
    expectTypeOf<AnthropicTool["input_schema"]["type"]>().toEqualTypeOf<Anthropic.Tool.InputSchema["type"]>()
  })

  test("cannot have what the API does not know", () => {
    // @ts-expect-error a block is of a known type
    const _block: AnthropicBlock = { type: "audio", data: "x" }
    // @ts-expect-error a result names its call
    const _result: AnthropicBlock = { type: "tool_result", content: [] }
  })
})
