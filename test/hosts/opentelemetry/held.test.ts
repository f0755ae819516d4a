import { SpanStatusCode } from "@opentelemetry/api"
import { describe, expect, test } from "vitest"
import { pending } from "../../../src/hosts/host.ts"
import { redirectRun } from "../../../src/hosts/run/wake-run.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { Counted, heldTurn, hostOf } from "../run/held-support.ts"
import { newTurn, says } from "../run/support.ts"
import { watch } from "./support.ts"

const ASKED = [
  ["h1", "pay"],
  ["f1", "look"],
] as const

describe("the span of a run with held calls", () => {
  test("has an event for each request and decision, and a child for the decider", async () => {
    const { telemetry, span, tree } = watch()
    const host = hostOf(new Counted(), [["h1", "pay"]], {
      decide: async (held) => held.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" })),
    })
    await telemetry.runTurn(heldTurn({ projector: chatProjector }), host)
    expect(tree()).toContain("  decide\n  execute_tool pay\n")
    const tool = { "gen_ai.tool.name": "pay", "gen_ai.tool.call.id": "h1" }
    expect(span("invoke_agent").events.map(({ name, attributes }) => ({ name, attributes }))).toEqual([
      { name: "turn_machine.approval_requested", attributes: { "turn_machine.request_id": "2:h1", ...tool } },
      { name: "turn_machine.approval_decided", attributes: { "turn_machine.request_id": "2:h1", "turn_machine.decision": "approve", ...tool } },
    ])
    expect(span("decide").attributes).toMatchObject({ "turn_machine.held_calls": 1, "turn_machine.decisions": 1 })
  })

  test("has an event for each redirection, and the model call that it stopped is cancelled", async () => {
    const { telemetry, span, spans } = watch()
    const machine = newTurn({ projector: chatProjector })
    let asked = 0
    await telemetry.runTurn(machine, {
      async llmCall(_effect, { signal }) {
        asked += 1
        if (asked === 2) return says("Redirected.")
        void redirectRun(machine, [{ id: "u2", role: "user", parts: [{ id: "u2.p0", type: "text", text: "The other one." }] }])
        return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
      },
    })
    expect(span("invoke_agent").events.map(({ name }) => name)).toEqual(["turn_machine.redirected"])
    const calls = spans().filter(({ name }) => name === "chat test")
    expect(calls.map(({ status, attributes }) => [status.code, attributes["turn_machine.cancelled"]])).toEqual([
      [SpanStatusCode.UNSET, true],
      [SpanStatusCode.UNSET, undefined],
    ])
  })

  test("ends without an error when the run is suspended", async () => {
    const { telemetry, span } = watch()
    const host = hostOf(new Counted(() => pending({ token: "job-7" })), ASKED)
    const result = await telemetry.runTurn(heldTurn(), host, { suspend: true })
    expect(result.type).toBe("suspended")
    const { status, attributes, events } = span("invoke_agent")
    expect(status.code).toBe(SpanStatusCode.UNSET)
    expect(attributes).toMatchObject({ "turn_machine.suspended": true, "turn_machine.held_calls": 1, "turn_machine.pending_calls": 1 })
    expect(events.at(-1)).toMatchObject({ name: "turn_machine.tool_pending", attributes: { "turn_machine.tool.pending": "job-7" } })
    expect(span("execute_tool look").attributes).toMatchObject({ "turn_machine.tool.pending": "job-7" })
    expect(span("execute_tool look").status.code).toBe(SpanStatusCode.UNSET)
  })

  test("a traced host without decide has none, so that its run is refused", async () => {
    const { telemetry } = watch()
    await expect(telemetry.runTurn(heldTurn(), hostOf(new Counted(), ASKED))).rejects.toMatchObject({ code: "held_without_decider" })
  })
})
