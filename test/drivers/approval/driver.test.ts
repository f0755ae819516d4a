import { createHash } from "node:crypto"
import { describe, expect, test } from "vitest"
import { callDigest, isToolChanged, toolDigest } from "../../../src/drivers/approval/digests.ts"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import { type ApprovalPolicy, summaryOf } from "../../../src/drivers/approval/policy.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { canonicalJson, type Json } from "../../../src/json.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import type { ToolSpec } from "../../../src/schemas/tool.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { delivers, driverOf, pending, pollAll, refusal, respond, results } from "../../machine/support.ts"
import {
  approvals,
  approves,
  asks,
  batchOf,
  begun,
  broken,
  call,
  callIds,
  configWith,
  decides,
  decision,
  failures,
  HOLD_PAY,
  held,
  heldIds,
  LOOK,
  PAY,
  ran,
  released,
  resultTexts,
} from "./support.ts"

function sha256(value: Json): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex")
}

describe("the policy", () => {
  test("lets a call run, holds it or denies it, and a denied call is never offered", () => {
    const policy: ApprovalPolicy = ({ callId }) => (callId === "a" ? "run" : callId === "b" ? { hold: { risk: "high" } } : { deny: "Too late." })
    const machine = begun(configWith(policy))
    const effects = respond(machine, asks(1, call("a"), call("b"), call("c")))
    expect(callIds(machine)).toEqual(["a"])
    expect(heldIds(machine)).toEqual(["b"])
    expect(held(machine, "b")).toMatchObject({
      requestId: "2:b",
      ask: { risk: "high", allow: ["approve", "edit", "reject"], scopes: ["call", "turn", "thread"] },
    })
    expect(failures(effects)).toEqual({ c: "denied_by_policy" })
    approves(machine, "b")
    respond(machine, results(2, ran("a"), ran("b")))
    expect(resultTexts(machine)["c"]).toContain("Too late.")
    expect(resultTexts(machine)["c"]).toContain("did not run")
  })

  test("that denies all calls of a batch needs no host", () => {
    const machine = batchOf(
      configWith(() => ({ deny: "No." })),
      call("a"),
      call("b"),
    )
    expect(machine.outstanding?.type).toBe("checkpoint")
  })

  test("knows the tool, the iteration and the grants that hold", () => {
    const seen: unknown[] = []
    batchOf(
      configWith((_call, facts) => {
        seen.push(facts)
        return "run"
      }),
      call("a"),
    )
    expect(seen).toEqual([{ grants: [], tool: PAY, iteration: 0 }])
  })

  test.each([
    [
      "throws",
      () => {
        throw new Error("boom")
      },
      "policy_threw",
      "boom",
    ],
    ["returns nothing", () => undefined, "invalid_policy_answer", "not undefined"],
    ["returns an unknown word", () => "allow", "invalid_policy_answer", '"allow"'],
    ["returns a promise", () => Promise.resolve("run"), "invalid_policy_answer", "synchronous"],
    ["both holds and denies", () => ({ hold: {}, deny: "no" }), "invalid_policy_answer", "either hold or deny"],
    ["denies without a text", () => ({ deny: true }), "invalid_policy_answer", "deny must be a text"],
    ["holds with a misspelled key", () => ({ hold: { alow: ["reject"] } }), "invalid_policy_answer", 'did you mean "allow"?'],
    ["holds with an unknown choice", () => ({ hold: { allow: ["accept"] } }), "invalid_policy_answer", "allow must be a list"],
    ["holds with no choice", () => ({ hold: { allow: [] } }), "invalid_policy_answer", "allow must be a list"],
    ["holds with an unknown scope", () => ({ hold: { scopes: ["forever"] } }), "invalid_policy_answer", "scopes must be a list"],
    ["holds with an unknown risk", () => ({ hold: { risk: "huge" } }), "invalid_policy_answer", "risk must be"],
    ["holds with a summary that is not a text", () => ({ hold: { summary: 1 } }), "invalid_policy_answer", "summary must be"],
    ["holds with a promise", () => ({ hold: Promise.resolve({}) }), "invalid_policy_answer", "hold is a promise"],
    ["holds with true", () => ({ hold: true }), "invalid_policy_answer", "hold must be an object"],
  ])("that %s ends the turn as runtime_error, and nothing runs", (_name, policy, code, text) => {
    const machine = begun(configWith(policy as unknown as ApprovalPolicy))
    const effects = respond(machine, asks(1, call("a", "look"), call("b")))
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error", error: { code } } })
    expect(JSON.stringify(machine.outcome)).toContain(JSON.stringify(text).slice(1, -1))
    expect(effects.some(({ type }) => type === "tool_calls")).toBe(false)
  })

  test("is asked about the calls of every callback that starts tools", () => {
    const start = { type: "start_tools", calls: [pending("a", "pay")] } as const
    const next = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } } as const
    const exec = { type: "start_exec", code: "1", driverState: null } as const
    const heldIn = (callbacks: Partial<ProtocolDriver>, ...given: Parameters<typeof respond>[1][]): readonly string[] => {
      const machine = startedWithApproval(callbacks)
      for (const response of given) respond(machine, response)
      return heldIds(machine)
    }
    const failed = {
      type: "llm_complete",
      id: 1,
      result: { ok: false, error: { message: "no", retryable: false, terminalReason: "provider_error" } },
    } as const
    expect(heldIn({ prepareIteration: () => [start] })).toEqual(["a"])
    expect(heldIn({ onLlmComplete: () => [start] }, asks(1))).toEqual(["a"])
    expect(heldIn({ onLlmFailed: () => [start] }, failed)).toEqual(["a"])
    expect(heldIn({ onLlmCutOff: () => [start] }, asksCutOff())).toEqual(["a"])
    expect(
      heldIn({ onLlmComplete: () => [exec], onExecResult: () => [start] }, asks(1), {
        type: "exec_result",
        id: 2,
        result: { ok: false, error: "no" },
      }),
    ).toEqual(["a"])
    expect(
      heldIn({ onLlmComplete: () => [next], onDelivery: () => [start] }, asks(1), { type: "checkpoint_delivery", id: 2, delivery: { events: [1] } }),
    ).toEqual(["a"])
    expect(
      heldIn(
        { onLlmComplete: () => [{ type: "start_tools", calls: [pending("x")] }], onToolResults: () => [start] },
        asks(1),
        results(2, ran("x", "look")),
      ),
    ).toEqual(["a"])
  })
})

function asksCutOff(): Parameters<typeof respond>[1] {
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  return { type: "llm_complete", id: 1, result: { ok: true, response: { text: "", parts: [], usage, terminalReason: "output_limit" } } }
}

function startedWithApproval(callbacks: Partial<ProtocolDriver>): TurnMachine {
  return begun(configWith(HOLD_PAY, { inner: driverOf(callbacks) }))
}

describe("a digest", () => {
  test("is SHA-256 of canonical JSON in hex, of the tool as it was shown and of the call", () => {
    expect(toolDigest(PAY)).toBe(sha256(PAY))
    expect(toolDigest({ ...PAY, outputSchema: true })).not.toBe(toolDigest(PAY))
    expect(toolDigest(undefined)).toBe(sha256(null))
    const args = { b: "é", a: "日本 😀 \ud800", c: [1, null, { z: 1, y: 2 }] }
    expect(callDigest({ toolName: "pay", args }, PAY)).toBe(sha256([1, "pay", sha256(PAY), args]))
    const machine = batchOf(configWith(HOLD_PAY), call("a", "pay", { eur: 5 }))
    expect(held(machine, "a").digest).toBe(sha256([1, "pay", sha256(PAY), { eur: 5 }]))
  })

  test("is the same for arguments in another order, and another for every other change", () => {
    const digests = [
      callDigest({ toolName: "pay", args: { a: 1, b: 2 } }, PAY),
      callDigest({ toolName: "pay", args: { b: 2, a: 1 } }, PAY),
      callDigest({ toolName: "pay", args: { a: 1, b: 3 } }, PAY),
      callDigest({ toolName: "look", args: { a: 1, b: 2 } }, PAY),
      callDigest({ toolName: "pay", args: { a: 1, b: 2 } }, { ...PAY, description: "Pays more." }),
      callDigest({ toolName: "pay", args: { a: 1, b: 2 } }, undefined),
    ]
    expect(digests[0]).toBe(digests[1])
    expect(new Set(digests).size).toBe(5)
  })
})

describe("the ask", () => {
  test("has a summary of one line by default, cut", () => {
    const summary = (args: Json): string | undefined => held(batchOf(configWith(HOLD_PAY), call("a", "pay", args)), "a").ask.summary
    expect(summary({ eur: 5 })).toBe('pay {"eur":5}')
    expect(summary({ text: "a\nb" })).toBe('pay {"text":"a\\nb"}')
    const long = summary({ text: "😀".repeat(1_000) }) ?? ""
    expect(Array.from(long)).toHaveLength(200)
    expect(long.endsWith("😀…")).toBe(true)
  })

  test("has no characters that control a terminal or the direction of text", () => {
    expect(summaryOf({ toolName: "pay\u001b[2J", args: "\u0085{\u009b1m" })).toBe("pay\\u001b[2J \\u0085{\\u009b1m")
    expect(summaryOf({ toolName: "pay", args: { to: "\u202eeve\u2066", by: "👩\u200d👩" } })).toBe('pay {"to":"\\u202eeve\\u2066","by":"👩\u200d👩"}')
  })

  test("keeps what the policy gave, in a fixed order", () => {
    const machine = batchOf(
      configWith(() => ({ hold: { summary: "s", allow: ["reject", "approve"], scopes: ["thread", "call", "call"] } })),
      call("a"),
    )
    expect(held(machine, "a").ask).toEqual({ summary: "s", allow: ["approve", "reject"], scopes: ["call", "thread"] })
  })

  test("expires ttlMs after the response that led to the call, and not without its time", () => {
    const expiresAt = (ttlMs: number | undefined, at: number | undefined): number | undefined => {
      const machine = begun(configWith(HOLD_PAY, ttlMs === undefined ? {} : { ttlMs }))
      const { at: _, ...response } = asks(1, call("a"))
      respond(machine, at === undefined ? response : { ...response, at })
      return held(machine, "a").ask.expiresAt
    }
    expect(expiresAt(500, 1_000)).toBe(1_500)
    expect(expiresAt(500, undefined)).toBeUndefined()
    expect(expiresAt(Number.MAX_SAFE_INTEGER, 1_000)).toBe(Number.MAX_SAFE_INTEGER)
    expect(expiresAt(undefined, 1_000)).toBeUndefined()
  })
})

describe("a decision", () => {
  test("approve: the call runs with its own arguments", () => {
    const machine = batchOf(configWith(HOLD_PAY), call("a", "pay", { eur: 5 }), call("b", "look"))
    expect(released(approves(machine, "a", { by: "ann", note: "fine" }))).toEqual([{ callId: "a", args: { eur: 5 } }])
    expect(approvals(machine)).toEqual([
      {
        type: "approval",
        requestId: "2:a",
        callId: "a",
        toolName: "pay",
        digest: callDigest({ toolName: "pay", args: { eur: 5 } }, PAY),
        decision: "approve",
        by: "ann",
        note: "fine",
        at: 2_000,
      },
    ])
  })

  test("edit: the call runs with the new arguments, and the model reads them", () => {
    const machine = batchOf(configWith(HOLD_PAY), call("a", "pay", { eur: 5 }))
    const effects = decides(machine, [decision(machine, "a", { decision: "edit", args: { eur: 1 } })])
    expect(released(effects)).toEqual([{ callId: "a", args: { eur: 1 } }])
    respond(machine, results(2, ran("a")))
    expect(resultTexts(machine)["a"]).toContain('Ran with arguments changed by the user: {"eur":1}')
    expect(approvals(machine)).toMatchObject([{ decision: "edit", args: { eur: 1 } }])
  })

  test.each([
    ["a list", [1]],
    ["null", null],
    ["a text", "{}"],
  ])("edit to %s: the call does not run", (_name, args) => {
    const machine = batchOf(configWith(HOLD_PAY), call("a"))
    const effects = decides(machine, [decision(machine, "a", { decision: "edit", args })])
    expect(released(effects)).toEqual([])
    expect(failures(effects)).toEqual({ a: "broken_arguments" })
  })

  test("reject: the model reads that it must not repeat the call, and what the person says", () => {
    const machine = batchOf(configWith(HOLD_PAY), call("a"))
    const effects = decides(machine, [decision(machine, "a", { decision: "reject", message: "Ask me first." })])
    expect(failures(effects)).toEqual({ a: "rejected" })
    expect(machine.outstanding?.type).toBe("checkpoint")
    expect(resultTexts(machine)["a"]).toBe(
      "[Tool execution failed]\nThe user rejected this call, so it did not run. Do not make the same call again. Find another way, or ask the user.\nThe user says: Ask me first.",
    )
    expect(approvals(machine)).toMatchObject([{ decision: "reject", message: "Ask me first." }])
  })

  test("expired and cancelled: one typed result, and the call does not run", () => {
    const machine = batchOf(configWith(HOLD_PAY), call("a"), call("b"))
    const effects = decides(machine, [decision(machine, "a", { decision: "expired" }), decision(machine, "b", { decision: "cancelled" })])
    expect(failures(effects)).toEqual({ a: "approval_expired", b: "cancelled" })
    expect(released(effects)).toEqual([])
    expect(approvals(machine)).toMatchObject([{ decision: "expired" }, { decision: "cancelled" }])
  })
})

describe("a call with broken arguments", () => {
  const holdBroken: ApprovalPolicy = (_call, { broken: isBroken }) => (isBroken ? { hold: {} } : "run")

  test("fails as before where the policy lets it run or denies it", () => {
    for (const answer of ["run", { deny: "no" }] as const) {
      const policy: ApprovalPolicy = () => answer
      const machine = begun(configWith(policy))
      expect(failures(respond(machine, asks(1, broken("a"))))).toEqual({ a: "broken_arguments" })
    }
  })

  test("is held for an edit or a rejection, and never runs as it is", () => {
    const machine = batchOf(configWith(holdBroken), broken("a"), broken("b"), call("c", "look"))
    expect(heldIds(machine)).toEqual(["a", "b"])
    expect(held(machine, "a")).toMatchObject({ args: "{", ask: { allow: ["edit", "reject"] } })
    expect(refusal(() => approves(machine, "a")).code).toBe("decision_not_allowed")
    expect(released(decides(machine, [decision(machine, "a", { decision: "edit", args: { eur: 1 } })]))).toEqual([{ callId: "a", args: { eur: 1 } }])
    expect(failures(decides(machine, [decision(machine, "b", { decision: "reject" })]))).toEqual({ b: "rejected" })
  })

  test("cannot be approved even if the policy allows nothing else", () => {
    const machine = batchOf(
      configWith((_call, { broken: isBroken }) => (isBroken ? { hold: { allow: ["approve"] } } : "run")),
      broken("a"),
    )
    expect(held(machine, "a").ask.allow).toEqual(["edit", "reject"])
  })

  test("is not released by a grant for its tool", () => {
    const machine = batchOf(
      configWith(() => ({ hold: {} })),
      broken("a"),
      call("b"),
      call("c"),
    )
    expect(released(approves(machine, "b", { scope: "turn" } as never)).map(({ callId }) => callId)).toEqual(["b", "c"])
    expect(heldIds(machine)).toEqual(["a"])
  })

  test("of a tool whose calls a person denied is not asked about", () => {
    const machine = batchOf(
      configWith(() => ({ hold: {} })),
      call("a"),
      broken("b"),
    )
    const denied = { a: "rejected", b: "denied_by_grant" }
    expect(failures(decides(machine, [decision(machine, "a", { decision: "reject", scope: "thread" })]))).toEqual(denied)
    respond(machine, delivers(3))
    expect(failures(respond(machine, asks(4, broken("c"))))).toEqual({ c: "denied_by_grant" })
  })

  test("is what its driver could not read, and not what a tool says about its arguments", () => {
    const failure = { class: "invalid_request", code: "broken_arguments", message: "No.", source: "tool", retry: { type: "never" } } as const
    const settled = [{ ...pending("a", "pay"), output: { status: "failure", failure }, durationMs: 0 }] as const
    const inner = driverOf({ onLlmComplete: () => [{ type: "start_tools", calls: [pending("a", "pay"), pending("b", "pay")], settled }] })
    const machine = begun(configWith(() => ({ hold: {} }), { inner }))
    respond(machine, asks(1))
    expect(heldIds(machine)).toEqual(["b"])
  })

  test("of an unknown tool is not held: there is nothing to run", () => {
    const asked: string[] = []
    const machine = begun(
      configWith((given) => {
        asked.push(given.callId)
        return { hold: {} }
      }),
    )
    expect(failures(respond(machine, asks(1, broken("a", "nothing"), call("b", "nothing"))))).toEqual({ a: "unknown_tool", b: "unknown_tool" })
    expect(asked).toEqual([])
  })
})

describe("a tool that changed since a person was asked", () => {
  const changed: ToolSpec = { ...PAY, description: "Pays everything." }

  /** The turn with other tools than those of its request. */
  function withChangedTool(...parts: Parameters<typeof asks>[1][]): TurnMachine {
    const saved = { ...batchOf(configWith(HOLD_PAY), ...parts).checkpoint(), tools: [changed, LOOK] }
    const machine = TurnMachine.restore(configWith(HOLD_PAY), JSON.stringify(saved))
    pollAll(machine)
    return machine
  }

  test("an approval or an edit of its call settles as tool_changed", () => {
    const machine = withChangedTool(call("a"), call("b"))
    const effects = decides(machine, [
      decision(machine, "a", { decision: "approve", scope: "thread" }),
      decision(machine, "b", { decision: "edit", args: { eur: 1 } }),
    ])
    expect(failures(effects)).toEqual({ a: "tool_changed", b: "tool_changed" })
    expect(released(effects)).toEqual([])
    expect(approvals(machine).filter((record) => (record as { type: string }).type === "approval_grant")).toEqual([])
  })

  test("is found by its host before a decision is recorded", () => {
    const machine = batchOf(configWith(HOLD_PAY), call("a"))
    expect(isToolChanged(held(machine, "a"), [PAY, LOOK])).toBe(false)
    expect(isToolChanged(held(machine, "a"), [changed, LOOK])).toBe(true)
    expect(isToolChanged(held(machine, "a"), [])).toBe(true)
  })

  test("a rejection reaches its own call alone", () => {
    const machine = withChangedTool(call("a"), call("b"))
    expect(failures(decides(machine, [decision(machine, "a", { decision: "reject", scope: "thread" })]))).toEqual({ a: "rejected" })
    expect(heldIds(machine)).toEqual(["b"])
    decides(machine, [decision(machine, "b", { decision: "reject" })])
    expect(resultTexts(machine)["a"]).not.toContain("All calls of this tool")
  })
})

describe("a batch", () => {
  test("of a tool that is listed twice is about the first, as its request is", () => {
    const machine = batchOf(configWith(HOLD_PAY, { tools: [PAY, { ...PAY, description: "Another." }] }), call("a"))
    expect(held(machine, "a").digest).toBe(callDigest({ toolName: "pay", args: {} }, PAY))
  })

  test("with two calls of one id is refused where one of them is held or denied", () => {
    const twice: ProtocolDriver = driverOf({ onLlmComplete: () => [{ type: "start_tools", calls: [pending("a", "look"), pending("a", "pay")] }] })
    for (const policy of [HOLD_PAY, (({ toolName }) => (toolName === "pay" ? { deny: "no" } : "run")) as ApprovalPolicy]) {
      const machine = begun(configWith(policy, { inner: twice }))
      respond(machine, asks(1))
      expect(machine.outcome).toMatchObject({ stop: { type: "runtime_error", error: { code: "invalid_hold" } } })
    }
    const free = begun(configWith(() => "run", { inner: twice }))
    respond(free, asks(1))
    expect(callIds(free)).toEqual(["a", "a"])
  })

  test("of 1,000 calls is held and decided in little time", () => {
    const ids = Array.from({ length: 1_000 }, (_, index) => `c${index}`)
    const machine = batchOf(configWith(HOLD_PAY), ...ids.map((id) => call(id, "pay", { id })))
    expect(heldIds(machine)).toHaveLength(1_000)
    expect(released(approves(machine, "c0", { scope: "turn" } as never))).toHaveLength(1_000)
  })
})

describe("the options", () => {
  test.each([
    ["no policy", {}, "/policy"],
    ["a policy that is not a function", { policy: "always" }, "/policy"],
    ["a misspelled option", { policy: HOLD_PAY, ttl: 5 }, "/ttl"],
    ["a time of 0", { policy: HOLD_PAY, ttlMs: 0 }, "/ttlMs"],
    ["a time without end", { policy: HOLD_PAY, ttlMs: Number.POSITIVE_INFINITY }, "/ttlMs"],
  ])("refuse %s", (_name, options, path) => {
    const error = refusal(() => approvalDriver(chatDriver(), options as never))
    expect(error.code).toBe("invalid_config")
    expect(error.message).toContain(path)
  })

  test("refuse a driver that holds calls itself", () => {
    const error = refusal(() => approvalDriver(approvalDriver(chatDriver(), { policy: HOLD_PAY }), { policy: HOLD_PAY }))
    expect(error.message).toContain("holds calls itself")
  })

  test("name the driver after the inner one, which keeps its version", () => {
    expect(approvalDriver(chatDriver(), { policy: HOLD_PAY })).toMatchObject({ name: "approval(chat)", version: 1 })
  })

  test("make a machine that may hold calls", () => {
    expect(begun(configWith(HOLD_PAY)).mayHold).toBe(true)
  })
})

test("an inner driver that holds calls without deciding about them ends the turn", () => {
  const inner = driverOf({
    onLlmComplete: () => [
      { type: "start_tools", calls: [pending("a")], held: [{ callId: "a", digest: "d", ask: { allow: ["approve"], scopes: [] } }] },
    ],
  })
  const machine = begun(configWith(() => "run", { inner }))
  respond(machine, asks(1))
  expect(machine.outcome).toMatchObject({ stop: { error: { code: "missing_callback" } } })
})

test("without a held or denied call, the effects are those of the inner driver", () => {
  const run = (config: Parameters<typeof begun>[0]): string => {
    const machine = begun(config)
    return JSON.stringify(
      [asks(1, call("a"), broken("b"), call("c", "nothing")), results(2, ran("a"))].flatMap((response) => respond(machine, response)),
    )
  }
  const plain = configWith(() => "run")
  expect(run(plain)).toBe(run({ ...plain, driver: chatDriver() }))
})
