import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { compactingDriver } from "../../../src/drivers/compaction/driver.ts"
import { summarizeThrough } from "../../../src/drivers/compaction/outside.ts"
import { refusal } from "../../machine/support.ts"

describe("options of compactingDriver", () => {
  test.each([
    ["keepTail", 1],
    ...["keepUserTokens", "keepTailTokens", "maxSummaryTokens"].flatMap((option) =>
      [-1, 1.5, Number.POSITIVE_INFINITY, "1"].map((value) => [option, value]),
    ),
    ...[0, 1.5, Number.POSITIVE_INFINITY, "1"].map((value) => ["maxFailures", value]),
    ...[-0.1, 1, Number.NaN].map((value) => ["minGain", value]),
    ["due", "threshold"],
    ["restate", "goal"],
    ["instructions", 7],
  ])("%s: %s is refused", (option, value) => {
    const { code, message } = refusal(() => compactingDriver(chatDriver(), { [String(option)]: value }))
    expect([code, message]).toEqual(["invalid_config", expect.stringMatching(new RegExp(`compactingDriver.*${option}`))])
  })

  test.each([
    { keepUserTokens: 0, keepTailTokens: 0, maxSummaryTokens: 0, maxFailures: 1, minGain: 0 },
    { minGain: 0.99, due: () => undefined, restate: () => undefined, instructions: "" },
  ])("%s are accepted", (options) => expect(compactingDriver(chatDriver(), options).name).toBe("compacting(chat)"))
})

test.each([
  ["keepTail", 1],
  ["keepTailTokens", -1],
  ["keepTailTokens", 0.5],
  ["maxSummaryTokens", -1],
])("%s: %s is refused as an option of summarizeThrough", (option, value) => {
  const { code, message } = refusal(() => summarizeThrough({ messages: [], history: [] }, { [option]: value }))
  expect([code, message]).toEqual(["invalid_config", expect.stringMatching(new RegExp(`summarizeThrough.*${option}`))])
})
