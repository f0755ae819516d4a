import { describe, expect, it } from "vitest"
import { Asker, gated, OutputGate, type Prompt } from "../../src/cli/approvals/asker.ts"
import type { Answer } from "../../src/cli/approvals/prompt.ts"
import type { HeldCall } from "../../src/wire/approval.ts"

function held(...names: readonly string[]): readonly HeldCall[] {
  return names.map((callId, index) => ({
    callId,
    toolName: "t",
    args: {},
    requestId: `5:${callId}`,
    index,
    digest: callId,
    ask: { allow: ["approve"], scopes: ["call"] },
  }))
}

/** A prompt that notes its questions and gives answers in order. */
class NotingPrompt implements Prompt {
  readonly asked: string[] = []
  readonly #answers: ((call: HeldCall, signal: AbortSignal) => Promise<Answer> | Answer)[]

  constructor(...answers: ((call: HeldCall, signal: AbortSignal) => Promise<Answer> | Answer)[]) {
    this.#answers = answers
  }

  async ask(
    call: HeldCall,
    { number, total, signal }: { readonly number: number; readonly total: number; readonly signal: AbortSignal },
  ): Promise<Answer> {
    this.asked.push(`${call.requestId} ${number}/${total}`)
    return (this.#answers.shift() ?? approve)(call, signal)
  }
}

const approve = ({ requestId, digest }: HeldCall): Answer => ({ type: "decision", decision: { requestId, digest, decision: "approve" } })
const untilClosed = (_call: HeldCall, signal: AbortSignal): Promise<Answer> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve({ type: "gone" })))
const decided = (callId: string) =>
  ({ type: "approval_decided", requestId: `5:${callId}`, callId, name: "t", decision: "approve", by: "ann" }) as const
const context = { effectId: 5, signal: new AbortController().signal }

describe("held calls", () => {
  it("are asked about one at a time, with their place in the batch", async () => {
    const prompt = new NotingPrompt()
    const asker = new Asker({ prompt, gate: new OutputGate() })
    expect(await asker.decide(held("a", "b", "c"), context)).toHaveLength(1)
    await asker.decide(held("b", "c"), context)
    await asker.decide(held("c"), context)
    expect(prompt.asked).toEqual(["5:a 1/3", "5:b 2/3", "5:c 3/3"])
  })

  it("that are decided elsewhere close their question, and are not asked about", async () => {
    const prompt = new NotingPrompt(untilClosed)
    const asker = new Asker({ prompt, gate: new OutputGate() })
    const deciding = asker.decide(held("a", "b", "c"), context)
    asker.onEvent(decided("b"))
    asker.onEvent(decided("a"))
    expect(await deciding).toEqual([{ requestId: "5:c", digest: "c", decision: "approve" }])
    expect(prompt.asked).toEqual(["5:a 1/3", "5:c 3/3"])
  })

  it("of a later turn are asked about, although an earlier turn had the same requests", async () => {
    const prompt = new NotingPrompt()
    const asker = new Asker({ prompt, gate: new OutputGate() })
    await asker.decide(held("a", "b"), context)
    asker.onEvent(decided("a"))
    asker.onEvent(decided("b"))
    const [call] = held("a")
    asker.onEvent({ type: "approval_requested", held: call as HeldCall })
    expect(await asker.decide(held("a"), context)).toHaveLength(1)
    expect(prompt.asked).toEqual(["5:a 1/2", "5:a 1/1"])
  })

  it("are left undecided from the first that is decided later", async () => {
    const prompt = new NotingPrompt(() => ({ type: "suspend" }))
    const asker = new Asker({ prompt, gate: new OutputGate() })
    expect(await asker.decide(held("a", "b"), context)).toEqual([])
    expect(await asker.decide(held("a", "b"), context)).toEqual([])
    expect(prompt.asked).toEqual(["5:a 1/2"])
  })

  it("are not asked about when the process stops or the turn ends", async () => {
    const prompt = new NotingPrompt(untilClosed, untilClosed)
    const stopped = new Asker({ prompt, gate: new OutputGate() })
    const deciding = stopped.decide(held("a", "b"), context)
    stopped.close("Stopped.")
    expect(await deciding).toEqual([])
    const controller = new AbortController()
    const ended = new Asker({ prompt, gate: new OutputGate() }).decide(held("a", "b"), { ...context, signal: controller.signal })
    controller.abort()
    expect(await ended).toEqual([])
    expect(prompt.asked).toEqual(["5:a 1/2", "5:a 1/2"])
  })
})

it("output waits while a question is open, and then comes in order", async () => {
  const shown: string[] = []
  const gate = new OutputGate()
  const screen = gated({ line: (text: string) => void shown.push(text) }, gate)
  let closed: string[] = []
  const prompt = new NotingPrompt((call) => {
    screen.line("one")
    screen.line("two")
    closed = [...shown]
    return approve(call)
  })
  screen.line("zero")
  await new Asker({ prompt, gate }).decide(held("a"), context)
  expect(closed).toEqual(["zero"])
  expect(shown).toEqual(["zero", "one", "two"])
})
