import { describe, expect, test } from "vitest"
import { CheckpointError } from "../../src/errors.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { about, batchOf, decides, goesOn, holdingConfig, letRun, waiting } from "./held-support.ts"
import { completed, type Edit, plain, pollAll, push, REQUEST, refusal, remove, respond, results, set } from "./support.ts"

const BATCH = batchOf(["s", "h1", "f", "h2", "h3", "p"], ["h1", "h2", "h3"], { settled: [completed("s", "mine")] })
const CONFIG = holdingConfig(BATCH)

/** `h1` is approved and has its result, `h2` is edited and runs, `h3` is undecided, `f` runs, `p` continues outside. Places as in results: h1, f, h2, h3, p. */
function saved(...edits: readonly Edit[]): object {
  const machine = waiting(BATCH)
  respond(machine, decides(about("h1"), about("h2", "edit", { by: "anna" })))
  respond(machine, results(1, completed("h1", 1)))
  respond(machine, goesOn("p"))
  const checkpoint = plain(machine.checkpoint())
  for (const edit of edits) edit(checkpoint)
  return checkpoint
}

const LLM = { type: "waiting_llm", outstanding: { type: "llm_call", id: 1, request: REQUEST } }
const RESULT = (callId: string) => completed(callId, 1)

test("what a turn with held calls saves", () => {
  const { state } = saved() as ReturnType<TurnMachine["checkpoint"]>
  expect(state).toMatchObject({
    type: "waiting_tools",
    outstanding: { calls: [{ callId: "f" }, { callId: "p" }], held: [{ index: 1 }, { index: 3 }, { index: 4 }] },
    results: [{ callId: "h1" }, null, null, null, null],
    settled: [{ index: 0 }],
    decided: [
      { requestId: "1:h1", decision: "approve" },
      { requestId: "1:h2", decision: "edit", args: { edited: "h2" }, by: "anna" },
    ],
    pending: [{ callId: "p", token: "job of p" }],
  })
  expect(letRun(pollAll(TurnMachine.restore(CONFIG, JSON.stringify(saved()))))).toEqual(["f", "h2"])
})

describe("a checkpoint that would run a call without a decision, or one that has its result, or that claims a wait, is inconsistent", () => {
  test.each<readonly [string, Edit | readonly Edit[], string]>([
    ["held calls out of order", set("/state/outstanding/held/1/index", 1), "/state/outstanding/held/1/index"],
    ["a held call in the place of a settled one", set("/state/outstanding/held/0/index", 0), "/state/outstanding/held/0/index"],
    ["a held call past the end of the batch", set("/state/outstanding/held/2/index", 6), "/state/outstanding/held/2/index"],
    ["two held calls with one request", set("/state/outstanding/held/1/requestId", "1:h1"), "/state/outstanding/held/1/requestId"],
    ["a held call with a request of its own", set("/state/outstanding/held/2/requestId", "2:h3"), "/state/outstanding/held/2/requestId"],
    ["a free call with the id of a held one", set("/state/outstanding/calls/0/callId", "h3"), "/state/outstanding/held/2/callId"],
    [
      "pending calls in the effect",
      set("/state/outstanding/pending", [{ callId: "f", toolName: "look", args: {}, token: "t" }]),
      "/state/outstanding/pending",
    ],
    ["a result too few", remove("/state/results/4"), "/state/results"],
    ["a result too many", push("/state/results", null), "/state/results"],
    ["the result of a held call in the place of a free one", set("/state/results/1", RESULT("h2")), "/state/results/1/callId"],
    ["the result of an undecided call", set("/state/results/3", RESULT("h3")), "/state/results"],
    ["a decision about an unknown request", set("/state/decided/0/requestId", "1:x"), "/state/decided/0/requestId"],
    ["a decision about a call", set("/state/decided/0/requestId", "h1"), "/state/decided/0/requestId"],
    ["two decisions about one call", push("/state/decided", { requestId: "1:h1", decision: "approve" }), "/state/decided/2/requestId"],
    ["an edit without arguments", remove("/state/decided/1/args"), "/state/decided/1/args"],
    ["an approval with arguments", set("/state/decided/0/args", {}), "/state/decided/0/args"],
    ["a rejection that left its call open", push("/state/decided", { requestId: "1:h3", decision: "reject" }), "/state/decided/2/decision"],
    ["an expiry that left its call open", push("/state/decided", { requestId: "1:h3", decision: "expired" }), "/state/decided/2/decision"],
    ["a cancellation that left its call open", push("/state/decided", { requestId: "1:h3", decision: "cancelled" }), "/state/decided/2/decision"],
    ["results without the decisions", remove("/state/decided"), "/state/results"],
    ["a pending call that is unknown", set("/state/pending/0/callId", "x"), "/state/pending/0/callId"],
    ["a pending call that is settled", set("/state/pending/0/callId", "s"), "/state/pending/0/callId"],
    ["a pending call that has its result", set("/state/pending/0/callId", "h1"), "/state/pending/0/callId"],
    ["a pending call that is undecided", set("/state/pending/0/callId", "h3"), "/state/pending/0/callId"],
    ["a pending call twice", push("/state/pending", { callId: "p", toolName: "look", args: {}, token: "t" }), "/state/pending/1/callId"],
    ["a pending call that is one of two with its id", set("/state/outstanding/calls/0/callId", "p"), "/state/pending/0/callId"],
    ["a wait since another time than that of the latest response", [set("/at", 1_000), set("/heldSince", 500)], "/heldSince"],
    ["a wait in a turn that waits for its model", [set("/state", LLM), set("/at", 1_000), set("/heldSince", 1_000)], "/heldSince"],
    [
      "every call has its result",
      [
        set("/state/results", ["h1", "f", "h2", "h3", "p"].map(RESULT)),
        push("/state/decided", { requestId: "1:h3", decision: "reject" }),
        remove("/state/pending"),
      ],
      "/state/results",
    ],
  ])("%s", (_what, edits, path) => {
    const error = refusal(() => TurnMachine.restore(CONFIG, saved(...[edits].flat()))) as CheckpointError
    expect(error).toBeInstanceOf(CheckpointError)
    expect([error.code, error.path]).toEqual(["inconsistent_checkpoint", path])
  })

  test("a rejection whose call has its result is consistent", () => {
    const edits = [push("/state/decided", { requestId: "1:h3", decision: "reject" }), set("/state/results/3", RESULT("h3"))]
    expect(letRun(pollAll(TurnMachine.restore(CONFIG, saved(...edits))))).toEqual(["f", "h2"])
  })

  test.each<readonly [string, Edit, string]>([
    ["a decision that does not exist", set("/state/decided/0/decision", "allow"), "/state/decided/0/decision"],
    ["a held call without a digest", remove("/state/outstanding/held/0/digest"), "/state/outstanding/held/0/digest"],
    ["a held call without its place", remove("/state/outstanding/held/0/index"), "/state/outstanding/held/0/index"],
    ["a negative place", set("/state/outstanding/held/0/index", -1), "/state/outstanding/held/0/index"],
    ["an unknown choice", set("/state/outstanding/held/0/ask/allow", ["run"]), "/state/outstanding/held/0/ask/allow/0"],
    ["a pending call without a token", remove("/state/pending/0/token"), "/state/pending/0/token"],
    ["an unknown key of a decision", set("/state/decided/0/at", 5), "/state/decided/0/at"],
    ["an unknown key of an ask", set("/state/outstanding/held/0/ask/title", ""), "/state/outstanding/held/0/ask/title"],
    ["a release that was not polled", push("/unpolled", { type: "tool_calls_released", id: 1, calls: [] }), "/unpolled/0/type"],
    ["a time that is no number", set("/heldSince", "now"), "/heldSince"],
    ["a negative time", set("/heldMs", -1), "/heldMs"],
  ])("%s is invalid", (_what, edit, path) => {
    const error = refusal(() => TurnMachine.restore(CONFIG, saved(edit))) as CheckpointError
    expect([error.code, error.path]).toEqual(["invalid_checkpoint", path])
  })
})
