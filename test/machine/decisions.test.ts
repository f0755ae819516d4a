import { describe, expect, test } from "vitest"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { Decision, Verdict } from "../../src/wire/approval.ts"
import {
  about,
  answered,
  batchOf,
  decides,
  decidesAt,
  hold,
  holdingConfig,
  letRun,
  outstandingBatch,
  REJECTED,
  resultsOf,
  shape,
  waiting,
} from "./held-support.ts"
import { completed, effectNames, expectRefused, moved, pending, plain, pollAll, respond, results } from "./support.ts"

const refuses = (machine: TurnMachine, code: string, ...decisions: readonly Decision[]): string =>
  expectRefused(machine, () => machine.handle(decides(...decisions)), code).message

describe("decisions", () => {
  const three = batchOf(["a", "b", "c"])
  const DECISIONS = [about("a"), about("b", "reject"), about("c", "edit")]

  function finished(machine: TurnMachine): TurnMachine {
    const { calls } = outstandingBatch(machine)
    for (const { callId } of calls) respond(machine, results(1, completed(callId)))
    return machine
  }

  test.each<readonly [string, readonly (readonly number[])[]]>([
    ["all at once", [[0, 1, 2]]],
    ["all at once, in reverse", [[2, 1, 0]]],
    ["one by one", [[0], [1], [2]]],
    ["one by one, in reverse", [[2], [1], [0]]],
    ["in two parts", [[1], [2, 0]]],
  ])("%s give the same transcript and results", (_how, split) => {
    const machine = waiting(three)
    for (const part of split) respond(machine, decides(...part.map((place) => DECISIONS[place] as Decision)))
    finished(machine)
    expect(resultsOf(machine)).toEqual([
      ["a", "result of a"],
      ["b", "rejected"],
      ["c", "result of c"],
    ])
    expect(answered(machine).map(([callId]) => callId)).toEqual(["a", "b", "c"])
  })

  test("and results come in any mixture", () => {
    const machine = waiting(batchOf(["a", "b", "c"], ["a", "c"]))
    respond(machine, decides(about("c")))
    respond(machine, results(1, completed("c", 1)))
    respond(machine, results(1, completed("b", 2)))
    expect(shape(outstandingBatch(machine))).toEqual({ calls: [], held: ["a"] })
    respond(machine, decides(about("a")))
    respond(machine, results(1, completed("a", 3)))
    expect(resultsOf(machine)).toEqual([
      ["a", 3],
      ["b", 2],
      ["c", 1],
    ])
  })

  test("are matched by request, never by place: an approval of the second call lets the second run", () => {
    const machine = waiting(three)
    expect(letRun(respond(machine, decides(about("b"))))).toEqual(["b"])
  })

  test("an empty list of decisions changes nothing", () => {
    const machine = waiting(three)
    const before = JSON.stringify(machine.checkpoint())
    expect(machine.handle(decides())).toEqual({ status: "stale" })
    expect(JSON.stringify(machine.checkpoint())).toBe(before)
  })

  test("are answered with an event that says what was decided and by whom", () => {
    const machine = waiting(three)
    const effects = respond(machine, decides(about("c", "edit", { by: "anna", note: "less" })))
    expect(effects[0]).toEqual({
      type: "emit",
      event: { type: "approval_decided", requestId: "1:c", callId: "c", name: "look", decision: "edit", args: { edited: "c" }, by: "anna" },
    })
    expect(plain(machine.checkpoint()).state).toMatchObject({
      decided: [{ requestId: "1:c", decision: "edit", args: { edited: "c" }, by: "anna" }],
    })
  })

  describe("that repeat one", () => {
    test.each<readonly [string, Verdict]>([
      ["an approval", { decision: "approve" }],
      ["an approval with a scope", { decision: "approve", scope: "turn" }],
      ["an edit", { decision: "edit", args: { b: 1, a: [2] } }],
      ["a rejection", { decision: "reject", message: "No." }],
      ["an expiry", { decision: "expired" }],
      ["a cancellation", { decision: "cancelled" }],
    ])("%s are stale and change nothing, also after a restore", (_what, verdict) => {
      const machine = waiting(three)
      respond(machine, decides(about("a", verdict, { by: "anna" })))
      const later = moved(machine, holdingConfig(three))
      for (const again of [machine, later]) {
        const before = JSON.stringify(again.checkpoint())
        expect(again.handle(decidesAt(99, about("a", verdict, { by: "another", note: "again" })))).toEqual({ status: "stale" })
        expect(JSON.stringify(again.checkpoint())).toBe(before)
      }
    })

    test("in one list count once", () => {
      const machine = waiting(three)
      const effects = respond(machine, decides(about("a"), about("a")))
      expect(effectNames(effects).filter((name) => name === "emit approval_decided")).toHaveLength(1)
    })

    test("an edit is the same whatever the order of its keys", () => {
      const machine = waiting(three)
      respond(machine, decides(about("a", { decision: "edit", args: { x: 1, y: { b: 1, a: 2 } } })))
      expect(machine.handle(decides(about("a", { decision: "edit", args: { y: { a: 2, b: 1 }, x: 1 } })))).toEqual({ status: "stale" })
    })

    test("with new ones beside them: only the new ones count", () => {
      const machine = waiting(three)
      respond(machine, decides(about("a")))
      expect(letRun(respond(machine, decides(about("a"), about("c"))))).toEqual(["c"])
    })

    test("after the result of their call, and after the batch, are stale, too", () => {
      const machine = waiting(batchOf(["a", "b"]))
      respond(machine, decides(about("a")))
      respond(machine, results(1, completed("a")))
      expect(machine.handle(decides(about("a"))).status).toBe("stale")
      respond(machine, decides(about("b", "reject")))
      expect(machine.handle(decides(about("b", "reject"))).status).toBe("stale")
    })

    test("after the time of the request, in which the first one came", () => {
      const machine = waiting({ ...three, held: [hold("a", { expiresAt: 10 }), hold("b")] })
      respond(machine, decidesAt(5, about("a")))
      expect(machine.handle(decidesAt(50, about("a"))).status).toBe("stale")
    })
  })

  describe("that are contrary to one", () => {
    test.each<readonly [string, Verdict, Verdict, string]>([
      ["reject after approve", { decision: "approve" }, { decision: "reject" }, 'approve by "anna"'],
      ["approve after reject", { decision: "reject" }, { decision: "approve" }, 'reject by "anna"'],
      ["edit after approve", { decision: "approve" }, { decision: "edit", args: {} }, 'approve by "anna"'],
      ["approve after edit", { decision: "edit", args: {} }, { decision: "approve" }, 'edit by "anna"'],
      ["another edit", { decision: "edit", args: { a: 1 } }, { decision: "edit", args: { a: 2 } }, 'edit by "anna"'],
      ["approve after expiry", { decision: "expired" }, { decision: "approve" }, 'expired by "anna"'],
      ["expiry after approve", { decision: "approve" }, { decision: "expired" }, 'approve by "anna"'],
      ["cancel after reject", { decision: "reject" }, { decision: "cancelled" }, 'reject by "anna"'],
    ])("%s is refused and names the first", (_what, first, second, words) => {
      const machine = waiting(three)
      respond(machine, decides(about("a", first, { by: "anna" })))
      const message = refuses(machine, "call_already_decided", about("a", second, { by: "bo" }))
      expect(message).toBe(`The call "a" is decided already: ${words}.`)
      const later = moved(machine, holdingConfig(three))
      refuses(later, "call_already_decided", about("a", second))
    })

    test("without the name of who decided, the message has none", () => {
      const machine = waiting(three)
      respond(machine, decides(about("a")))
      expect(refuses(machine, "call_already_decided", about("a", "reject"))).toBe('The call "a" is decided already: approve.')
    })

    test("in one list are refused with the list", () => {
      refuses(waiting(three), "call_already_decided", about("b"), about("a"), about("a", "reject"))
    })

    test("two processes deciding: the first wins, the second learns of it", () => {
      const first = waiting(three)
      const second = moved(first, holdingConfig(three))
      const log: Response[] = [decides(about("a", "approve", { by: "anna" })), decides(about("a", "reject", { by: "bo" }))]
      respond(first, log[0] as Response)
      expectRefused(first, () => first.handle(log[1] as Response), "call_already_decided")
      respond(second, log[0] as Response)
      expect(JSON.stringify(second.checkpoint().state)).toBe(JSON.stringify(first.checkpoint().state))
    })
  })

  describe("that do not fit are refused as a list", () => {
    test.each<readonly [string, Partial<Decision>, string, RegExp]>([
      ["an unknown request", { requestId: "1:x" }, "unknown_request", /^The turn holds no call with the request "1:x"\.$/],
      ["the request of another effect", { requestId: "2:a" }, "unknown_request", /"2:a"/],
      ["a call id instead of a request", { requestId: "a" }, "unknown_request", /"a"/],
      ["the digest of another call", { digest: "digest of b" }, "digest_mismatch", /^The decision about "a" was made for another call/],
      ["an empty digest", { digest: "" }, "digest_mismatch", /its digest is not that of the request/],
    ])("%s", (_what, more, code, message) => {
      const machine = waiting(three)
      expect(refuses(machine, code, about("b"), about("a", "approve", more))).toMatch(message)
      expect(shape(outstandingBatch(machine))).toEqual({ calls: [], held: ["a", "b", "c"] })
    })

    test.each(["approve", "edit", "reject"] as const)("%s where it is not allowed", (choice) => {
      const allow = (["approve", "edit", "reject"] as const).filter((other) => other !== choice)
      const machine = waiting({ ...three, held: [hold("a", { allow })] })
      expect(refuses(machine, "decision_not_allowed", about("a", choice))).toBe(`The call "a" allows ${allow.join(", ")}, not ${choice}.`)
      respond(machine, decides(about("a", allow[0] as Verdict["decision"])))
    })

    test.each(["expired", "cancelled"] as const)("but %s is of the host, and always allowed", (decision) => {
      const machine = waiting({ ...batchOf(["a"]), held: [hold("a", { allow: [], scopes: [] })] })
      refuses(machine, "decision_not_allowed", about("a"))
      respond(machine, decides(about("a", decision)))
      expect(machine.done).toBe(true)
    })

    test.each([
      ["approve", "thread"],
      ["reject", "thread"],
    ] as const)("%s with a scope that is not allowed", (decision, scope) => {
      const machine = waiting(three)
      expect(refuses(machine, "decision_not_allowed", about("a", { decision, scope }))).toBe('A decision about "a" may not reach the thread.')
      respond(machine, decides(about("a", { decision, scope: "turn" })))
    })

    test("the scope of one call is always allowed", () => {
      const machine = waiting({ ...three, held: [hold("a", { scopes: [] })] })
      respond(machine, decides(about("a", { decision: "approve", scope: "call" })))
    })

    test("also a list whose other decisions repeat earlier ones", () => {
      const machine = waiting(three)
      respond(machine, decides(about("a")))
      refuses(machine, "digest_mismatch", about("a"), about("b", "approve", { digest: "x" }))
      refuses(machine, "digest_mismatch", about("a", "approve", { digest: "x" }))
    })
  })
})

describe("the time of a request", () => {
  const batch = { ...batchOf(["a", "b"]), held: [hold("a", { expiresAt: 100 }), hold("b")] }
  const decidedIn = (machine: TurnMachine): unknown => {
    const { state } = machine.checkpoint()
    return state.type === "waiting_tools" ? state.decided : undefined
  }

  test.each<readonly [string, number | undefined, Verdict["decision"], Verdict["decision"]]>([
    ["before its end", 99, "approve", "approve"],
    ["at its end", 100, "approve", "expired"],
    ["after its end", 101, "approve", "expired"],
    ["without a time", undefined, "approve", "approve"],
    ["after its end", 101, "edit", "expired"],
    ["before its end", 99, "edit", "edit"],
    ["after its end", 101, "reject", "reject"],
    ["after its end", 101, "cancelled", "cancelled"],
    ["before its end", 1, "expired", "expired"],
  ])("a decision %s (%s): %s counts as %s", (_when, at, given, counted) => {
    const machine = waiting(batch)
    const response = at === undefined ? decides(about("a", given, { by: "anna", note: "n" })) : decidesAt(at, about("a", given, { by: "anna" }))
    const effects = respond(machine, response)
    expect(decidedIn(machine)).toEqual([expect.objectContaining({ requestId: "1:a", decision: counted, by: "anna" })])
    expect(letRun(effects)).toEqual(counted === "approve" || counted === "edit" ? ["a"] : [])
  })

  test("an approval that expired has no arguments and keeps who made it, and the driver is shown that", () => {
    const seen: unknown[] = []
    const machine = waiting(batch, {
      onToolDecisions: (_context, _waiting, decisions) => {
        seen.push(...plain(decisions))
        return [{ type: "settle_calls", results: [completed("a", null, { output: { status: "failure", failure: REJECTED } })] }]
      },
    })
    respond(machine, decidesAt(100, about("a", "edit", { by: "anna", note: "late" })))
    expect(seen).toEqual([{ requestId: "1:a", digest: "digest of a", decision: "expired", by: "anna", note: "late" }])
  })

  test("is judged by the latest time that the turn knows, also for a response without one", () => {
    const machine = waiting(batch)
    respond(machine, decidesAt(100, about("b")))
    respond(machine, decides(about("a")))
    expect(decidedIn(machine)).toEqual([expect.anything(), { requestId: "1:a", decision: "expired" }])
    const earlier = waiting(batch)
    respond(earlier, decidesAt(100, about("b")))
    respond(earlier, decidesAt(50, about("a")))
    expect(decidedIn(earlier)).toEqual([expect.anything(), { requestId: "1:a", decision: "expired" }])
  })

  test("is judged the same after a restore, and no clock is asked", () => {
    const machine = waiting(batch)
    respond(machine, decidesAt(99, about("b")))
    const later = moved(machine, holdingConfig(batch))
    expect(letRun(respond(later, decides(about("a"))))).toContain("a")
  })

  test("an approval that counted as expired may be repeated, and so may the expiry", () => {
    const machine = waiting(batch)
    respond(machine, decidesAt(100, about("a")))
    expect(machine.handle(decides(about("a"))).status).toBe("stale")
    expect(machine.handle(decides(about("a", "expired"))).status).toBe("stale")
    refuses(machine, "call_already_decided", about("a", "reject"))
  })
})

describe("an edit", () => {
  const ARGS = { amount: 3 }
  const NOTE = 'Ran with arguments changed by the user: {"amount":3}'
  const edited = about("a", { decision: "edit", args: ARGS })

  function answeredText(result: ReturnType<typeof completed>, maxResultTokens?: number): string | undefined {
    const machine = waiting(batchOf(["a"]), {}, maxResultTokens === undefined ? {} : { maxResultTokens })
    respond(machine, decides(edited))
    respond(machine, results(1, result))
    return answered(machine)[0]?.[1]
  }

  test("is released, emitted again and reported with its arguments; the call in the transcript stays the model's", () => {
    const machine = waiting(batchOf(["a", "b"], ["a"]))
    const effects = respond(machine, decides(edited))
    expect(effects.at(-1)).toEqual({ type: "tool_calls_released", id: 1, calls: [pending("a", "look", ARGS)] })
    expect(outstandingBatch(machine).calls[0]).toEqual(pending("a", "look", ARGS))
    const later = moved(machine, holdingConfig(batchOf(["a", "b"], ["a"])))
    expect(outstandingBatch(later).calls[0]).toEqual(pending("a", "look", ARGS))
    respond(machine, { type: "tool_pending", id: 1, callId: "a", token: "t" })
    expect(outstandingBatch(machine).pending).toEqual([{ ...pending("a", "look", ARGS), token: "t" }])
  })

  test("results have the arguments that ran, and are marked, whatever the host returns", () => {
    const machine = waiting(batchOf(["a"]))
    respond(machine, decides(edited))
    const effects = respond(machine, results(1, completed("a", 1, { args: { amount: 999 } })))
    expect(effects[0]).toMatchObject({ event: { type: "tool_call", args: ARGS } })
    expect(machine.outcome).toMatchObject({ finish: { value: [{ callId: "a", args: ARGS, edited: true }] } })
  })

  test("the mark of a host on a call that was not edited is left out", () => {
    const machine = waiting(batchOf(["a", "b"], ["a"]))
    respond(machine, decides(about("a")))
    respond(machine, results(1, completed("a", 1, { edited: true }), completed("b", 1, { edited: true })))
    expect(JSON.stringify(machine.checkpoint())).not.toContain("edited")
    expect(answered(machine)).toEqual([
      ["a", "1"],
      ["b", "1"],
    ])
  })

  test("the model reads which arguments ran, before the result", () => {
    expect(answeredText(completed("a", "paid"))).toBe(`${NOTE}\npaid`)
    expect(answeredText(completed("a", ""))).toBe(NOTE)
    expect(answeredText(completed("a", "raw", { modelReturn: { parts: [{ type: "text", text: "shown" }] } }))).toBe(`${NOTE}\nshown`)
  })

  test("of a call that failed does not say that it ran", () => {
    const text = answeredText(completed("a", null, { output: { status: "failure", failure: { ...REJECTED, message: "No money." } } }))
    expect(text).toBe('The user changed the arguments of this call: {"amount":3}\n[Tool execution failed]\nNo money.')
  })

  test("the note comes before attachments, too", () => {
    const attachment = { id: "x", mediaType: "image/png", byteLength: 1 }
    const machine = waiting(batchOf(["a"]))
    respond(machine, decides(edited))
    respond(machine, results(1, completed("a", { $attachment: attachment })))
    const parts = machine.messages.at(-1)?.parts
    expect(parts?.[0]).toMatchObject({
      type: "tool_result",
      text: NOTE,
      content: [
        { type: "text", text: NOTE },
        { type: "attachment", attachment },
      ],
    })
    expect(parts?.[1]).toMatchObject({ type: "image", attachment })
  })

  test("note and result share the limit of a result", () => {
    const text = answeredText(completed("a", "x".repeat(5_000)), 100) ?? ""
    expect(text.startsWith(`${NOTE}\nxxx`)).toBe(true)
    // 100 tokens of 4 characters, of which the note and a line break take some.
    expect(`${NOTE}\n`.length + text.replaceAll(/[^x]/g, "").length).toBeLessThanOrEqual(400)
    const machine = waiting(batchOf(["a"]), {}, { maxResultTokens: 100 })
    respond(machine, decides(about("a", { decision: "edit", args: { text: "y".repeat(5_000) } })))
    respond(machine, results(1, completed("a", "the result")))
    const long = answered(machine)[0]?.[1] ?? ""
    expect(long).toContain("the result")
    expect(long.length).toBeLessThan(470)
  })

  test("to null or to a text is an edit", () => {
    for (const args of [null, "", 0, []]) {
      const machine = waiting(batchOf(["a"]))
      const effects = respond(machine, decides(about("a", { decision: "edit", args })))
      expect(effects.at(-1)).toMatchObject({ calls: [{ args }] })
      respond(machine, results(1, completed("a", "ok")))
      expect(answered(machine)[0]?.[1]).toBe(`Ran with arguments changed by the user: ${JSON.stringify(args)}\nok`)
    }
  })
})

test("without validation, an edit without arguments does not let the call run as the model wrote it", () => {
  const machine = new BareTurnMachine(holdingConfig(batchOf(["a"])), { messages: [] })
  pollAll(machine)
  const edit = { requestId: "1:a", digest: "digest of a", decision: "edit" } as unknown as Decision
  expectRefused(machine, () => machine.handle(decides(edit)), "decision_not_allowed")
})

test("without validation, a host may not hand in what the machine makes of decisions and results", () => {
  const machine = new BareTurnMachine(holdingConfig(batchOf(["a"])), { messages: [] })
  pollAll(machine)
  const result = { index: 0, result: completed("a") }
  for (const action of [
    { type: "take_decisions", decisions: [about("a")] },
    { type: "store_results", arrived: [result] },
    { type: "store_pending", call: { ...pending("a"), token: "t" } },
    { type: "prepare_iteration" },
  ])
    expectRefused(machine, () => machine.apply([action] as never), "unknown_action")
})

test("an earlier point of a turn does not know the decisions that came after it", () => {
  const config = holdingConfig(batchOf(["a", "b", "c"]))
  const machine = waiting(batchOf(["a", "b", "c"]))
  respond(machine, decides(about("a")))
  const { turn } = machine
  respond(machine, decides(about("b")))
  expect(shape(outstandingBatch(machine))).toEqual({ calls: ["a", "b"], held: ["c"] })
  const other = TurnMachine.of(config, turn)
  respond(other, decides(about("b", "reject")))
  expect(shape(outstandingBatch(other))).toEqual({ calls: ["a"], held: ["c"] })
  expect(shape(outstandingBatch(machine))).toEqual({ calls: ["a", "b"], held: ["c"] })
})
