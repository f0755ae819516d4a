import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import type * as z from "zod"
import * as schemas from "../../src/schemas/index.ts"
import * as arbitrary from "../../src/testing/arbitraries.ts"
import { firstDifference } from "../../src/testing/difference.ts"
import { check, SLOW } from "./check.ts"

/** The schema of each arbitrary. */
const VALUES: readonly (readonly [name: string, schema: z.ZodType, values: fc.Arbitrary<unknown>])[] = [
  ["AttachmentRef", schemas.AttachmentRef, arbitrary.attachmentRef],
  ["Block", schemas.Block, arbitrary.block],
  ["CheckpointDelivery", schemas.CheckpointDelivery, arbitrary.delivery],
  ["CheckpointKind", schemas.CheckpointKind, arbitrary.checkpointKind],
  ["CompletedToolCall", schemas.CompletedToolCall, arbitrary.completedToolCall],
  ["DeliveredMessage", schemas.DeliveredMessage, arbitrary.deliveredMessage],
  ["DriverAction that is quiet", schemas.DriverAction, arbitrary.quietAction],
  ["DriverAction that starts work", schemas.DriverAction, arbitrary.startAction],
  ["ExecResponse", schemas.ExecResponse, arbitrary.execResponse],
  ["FailureSource", schemas.FailureSource, arbitrary.failureSource],
  ["HistoryRecord", schemas.HistoryRecord, arbitrary.historyRecord],
  ["Json", schemas.Json, arbitrary.json],
  ["LlmFailure", schemas.LlmFailure, arbitrary.llmFailure],
  ["LlmMessage", schemas.LlmMessage, arbitrary.llmMessage],
  ["LlmRequest", schemas.LlmRequest, arbitrary.llmRequest],
  ["LlmResponse", schemas.LlmResponse, arbitrary.llmResponse],
  ["Message", schemas.Message, arbitrary.message],
  ["ModelReturn", schemas.ModelReturn, arbitrary.modelReturn],
  ["Origin", schemas.Origin, arbitrary.origin],
  ["Outcome", schemas.Outcome, arbitrary.outcome],
  ["OutputPart", schemas.OutputPart, arbitrary.outputPart],
  ["Part", schemas.Part, arbitrary.part],
  ["PendingToolCall", schemas.PendingToolCall, arbitrary.pendingToolCall],
  ["Prune", schemas.Prune, arbitrary.prune],
  ["ReasoningReplay", schemas.ReasoningReplay, arbitrary.reasoningReplay],
  ["ReplayMeta", schemas.ReplayMeta, arbitrary.replayMeta],
  ["Response", schemas.Response, arbitrary.response],
  ["ResponseMeta", schemas.ResponseMeta, arbitrary.responseMeta],
  ["Role", schemas.Role, arbitrary.role],
  ["TerminalReason", schemas.TerminalReason, arbitrary.terminalReason],
  ["TokenUsage", schemas.TokenUsage, arbitrary.usage],
  ["ToolControl", schemas.ToolControl, arbitrary.toolControl],
  ["ToolFailure", schemas.ToolFailure, arbitrary.toolFailure],
  ["ToolOutput", schemas.ToolOutput, arbitrary.toolOutput],
  ["ToolSpec", schemas.ToolSpec, arbitrary.toolSpec],
  ["TurnCause", schemas.TurnCause, arbitrary.turnCause],
  ["TurnConfigData", schemas.TurnConfigData, arbitrary.configData],
  ["TurnEvent", schemas.TurnEvent, arbitrary.turnEvent],
  ["TurnStart", schemas.TurnStart, arbitrary.start],
]

describe("an arbitrary value fits its schema, through JSON text and back, and nothing of it is lost", () => {
  test.each(VALUES)("%s", SLOW, (_name, schema, values) => {
    check(
      40,
      fc.property(values, (value) => {
        const parsed = schema.parse(JSON.parse(JSON.stringify(value)))
        expect(firstDifference(parsed, value)).toBeUndefined()
        expect(firstDifference(schema.parse(value), value)).toBeUndefined()
      }),
    )
  })
})

describe("arbitrary values are odd where it matters", () => {
  const texts = new Set(fc.sample(arbitrary.text, { numRuns: 2_000, seed: 1 }))

  test("texts: lone surrogates, white space of both kinds, keys of the prototype, more than 4,000 characters", () => {
    for (const odd of ["", "\ud800", "\u0085", "\ufeff", "__proto__"]) expect(texts).toContain(odd)
    expect(Array.from(texts).some((text) => Array.from(text).length > 4_000)).toBe(true)
  })

  test("JSON: own keys named __proto__, -0, attachments and escaped objects", () => {
    const values = fc.sample(arbitrary.json, { numRuns: 3_000, seed: 1 })
    const objects = values.filter((value) => typeof value === "object" && value !== null) as object[]
    expect(objects.some((value) => Object.hasOwn(value, "__proto__"))).toBe(true)
    expect(objects.some((value) => Object.hasOwn(value, "$attachment"))).toBe(true)
    expect(objects.some((value) => Object.hasOwn(value, "$object"))).toBe(true)
    expect(values.some((value) => Object.is(value, -0))).toBe(true)
  })
})
