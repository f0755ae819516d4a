import { describe, expectTypeOf, test } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import type { ApprovalPolicy, AskOptions, PolicyAnswer, PolicyFacts } from "../../src/drivers/approval/policy.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { defineTool } from "../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import type { PendingToolCall, ToolSpec } from "../../src/schemas/tool.ts"

const base = { name: "pay", description: "Pays.", input: z.object({ eur: z.number(), note: z.string().optional() }), execute: () => 1 }

describe("approval of a tool", () => {
  test("is a word or a function of the schema's output", () => {
    defineTool({ ...base, approval: "never" })
    defineTool({ ...base, approval: "always" })
    defineTool({
      ...base,
      approval: (input) => {
        expectTypeOf(input).toEqualTypeOf<{ eur: number; note?: string | undefined }>()
        return input.eur > 100 ? { risk: "high" } : false
      },
    })
    // @ts-expect-error another word
    defineTool({ ...base, approval: "ask" })
    // @ts-expect-error the input has no such key
    defineTool({ ...base, approval: ({ usd }) => (usd > 1 ? {} : false) })
    // @ts-expect-error a policy is synchronous
    defineTool({ ...base, approval: async () => false })
    // @ts-expect-error true says nothing about what is asked
    defineTool({ ...base, approval: () => true })
    // @ts-expect-error the driver sets the expiry
    defineTool({ ...base, approval: () => ({ expiresAt: 5 }) })
  })

  test("does not change the type of the tool's values", async () => {
    const tool = defineTool({ ...base, execute: () => ({ paid: true }), approval: "always" })
    type Value = Extract<Extract<Awaited<ReturnType<typeof tool.call>>, { output: unknown }>["output"], { status: "success" }>["value"]
    expectTypeOf<Value>().toEqualTypeOf<{ paid: boolean }>()
  })
})

describe("a policy", () => {
  test("gets the call and its facts", () => {
    expectTypeOf<Parameters<ApprovalPolicy>>().toEqualTypeOf<[call: PendingToolCall, facts: PolicyFacts]>()
    expectTypeOf<PolicyFacts["tool"]>().toEqualTypeOf<ToolSpec | undefined>()
    expectTypeOf<PolicyAnswer>().toEqualTypeOf<"run" | { readonly hold: AskOptions } | { readonly deny: string }>()
    expectTypeOf(toolbox([]).approvals).toEqualTypeOf<ApprovalPolicy>()
  })

  test("answers in one of three ways, at once", () => {
    approvalDriver(chatDriver(), { policy: () => "run" })
    approvalDriver(chatDriver(), { policy: ({ toolName }) => (toolName === "pay" ? { hold: {} } : { deny: "No." }), ttlMs: 5 })
    // @ts-expect-error a policy is synchronous
    approvalDriver(chatDriver(), { policy: async () => "run" })
    // @ts-expect-error an unknown word
    approvalDriver(chatDriver(), { policy: () => "allow" })
    // @ts-expect-error a denial says why
    approvalDriver(chatDriver(), { policy: () => ({ deny: true }) })
    // @ts-expect-error the policy is missing
    approvalDriver(chatDriver(), {})
  })
})
