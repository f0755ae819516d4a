import type {
  Content,
  FunctionCall,
  FunctionCallingConfig,
  FunctionDeclaration,
  GenerationConfig,
  Part,
  ThinkingConfig,
  Tool,
  ToolConfig,
} from "@google/genai"
import { describe, expectTypeOf, test } from "vitest"
import type {
  GeminiBody,
  GeminiContent,
  GeminiFunctionCall,
  GeminiFunctionDeclaration,
  GeminiGenerationConfig,
  GeminiPart,
  GeminiThinkingConfig,
  GeminiTool,
  GeminiToolConfig,
} from "../../src/projectors/gemini/index.ts"

// The body against the types of Google's SDK, which are generated from its API reference.

/** A type without `readonly`, which the SDK's types do not have. */
type Mutable<T> = { -readonly [Key in keyof T]: Mutable<T[Key]> }

/** The keys of a type that have a name here. */
type Named<T> = { [Key in keyof T as string extends Key ? never : Key]: T[Key] }

describe("a Gemini body", () => {
  test("has contents and parts that the SDK accepts", () => {
    expectTypeOf<Mutable<Omit<GeminiPart, "functionCall">>>().toExtend<Omit<Part, "functionCall">>()
    expectTypeOf<Mutable<Omit<GeminiFunctionCall, "args">>>().toExtend<Omit<FunctionCall, "args">>()
    expectTypeOf<GeminiFunctionCall["args"]>().toExtend<Readonly<NonNullable<FunctionCall["args"]>>>()
    expectTypeOf<keyof GeminiContent>().toExtend<keyof Content>()
    expectTypeOf<Mutable<NonNullable<GeminiBody["systemInstruction"]>>>().toExtend<Content>()
  })

  test("has declarations that the SDK accepts", () => {
    expectTypeOf<Mutable<Omit<GeminiFunctionDeclaration, "parametersJsonSchema">>>().toExtend<FunctionDeclaration>()
    expectTypeOf<keyof Named<GeminiTool>>().toExtend<keyof Tool>()
    expectTypeOf<keyof Named<GeminiToolConfig>>().toExtend<keyof ToolConfig>()
    type Calling = NonNullable<GeminiToolConfig["functionCallingConfig"]>
    expectTypeOf<keyof Calling>().toExtend<keyof FunctionCallingConfig>()
    expectTypeOf<Calling["mode"]>().toExtend<`${NonNullable<FunctionCallingConfig["mode"]>}`>()
  })

  test("has a generation config that the SDK accepts", () => {
    expectTypeOf<Mutable<Omit<Named<GeminiGenerationConfig>, "thinkingConfig" | "responseJsonSchema">>>().toExtend<
      Omit<GenerationConfig, "thinkingConfig">
    >()
    expectTypeOf<keyof Named<GeminiGenerationConfig>>().toExtend<keyof GenerationConfig>()
    expectTypeOf<keyof GeminiThinkingConfig>().toExtend<keyof ThinkingConfig>()
    expectTypeOf<NonNullable<GeminiThinkingConfig["thinkingLevel"]>>().toExtend<`${NonNullable<ThinkingConfig["thinkingLevel"]>}`>()
  })

  test("cannot have what the API does not know", () => {
    // @ts-expect-error a result is an object
    const _result: GeminiPart = { functionResponse: { name: "look", response: "seen" } }
    // @ts-expect-error the model's role is not `assistant`
    const _content: GeminiContent = { role: "assistant", parts: [] }
  })
})
