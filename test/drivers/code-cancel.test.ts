import { expect, test } from "vitest"
import { codeDriver } from "../../src/drivers/code.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { BASE, Talk } from "./code-talk.ts"

const CANCELLED = { type: "stopped", stop: { type: "cancelled" } }

test("a cancel while code runs leaves a trace that it may have run, once in the transcript and in the history", () => {
  const talk = new Talk().says("```ts\ndeploy()\n```")
  talk.machine.cancel("The user left.")
  const text = "The user left. The code was running: some or all of it may have taken effect. Its output is lost."
  expect(talk.machine.outcome).toEqual(CANCELLED)
  expect(talk.machine.messages.map(({ role }) => role)).toEqual(["user", "assistant", "system"])
  expect(talk.machine.messages.at(-1)?.parts).toMatchObject([{ type: "error", text }])
  expect(talk.machine.events.at(-1)).toMatchObject({ type: "conversation", message: { parts: [{ text }] } })

  const next = new TurnMachine(
    { ...BASE, driver: codeDriver(), projector: chatProjector },
    { messages: talk.machine.messages, events: talk.machine.events },
  )
  while (next.poll() !== undefined);
  const request = next.outstanding?.type === "llm_call" ? next.outstanding.request : undefined
  expect(request?.messages.at(-1)).toEqual({ role: "system", blocks: [{ type: "text", text: `Runtime note:\n<error>\n${text}\n</error>` }] })
})

test("the trace is a user's message if notes are, and a cancel without a reason says what happened", () => {
  const talk = new Talk({ notesAs: "user" }).says("```ts\ndeploy()\n```")
  talk.machine.cancel()
  expect(talk.machine.messages.at(-1)).toMatchObject({
    role: "user",
    parts: [{ text: expect.stringMatching(/^<error>\nThe turn was cancelled\. The code was running:/) }],
  })
})

test("a cancel before or after the run leaves no trace of it", () => {
  const before = new Talk()
  before.machine.cancel()
  const after = new Talk().says("```ts\nx\n```").gives({ ok: false, error: "no" })
  const messages = after.machine.messages.length
  after.machine.cancel()
  expect(before.machine.messages).toHaveLength(1)
  expect(after.machine.messages).toHaveLength(messages)
})

test("a restored turn can be cancelled, too", () => {
  const talk = new Talk().says("```ts\ndeploy()\n```")
  const restored = TurnMachine.restore({ ...BASE, driver: codeDriver(), projector: chatProjector }, JSON.stringify(talk.machine.checkpoint()))
  restored.cancel()
  expect(restored.messages.at(-1)?.id).toMatch(/^m_0_cancelled_/)
})

function cancelledUnder(change: (inner: ProtocolDriver) => ProtocolDriver): TurnMachine {
  const machine = new TurnMachine(
    { ...BASE, driver: change(codeDriver()), projector: chatProjector },
    { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Go." }] }] },
  )
  while (machine.poll() !== undefined);
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  machine.handle({ type: "llm_complete", id: 1, result: { ok: true, response: { text: "```ts\nx\n```", parts: [], usage, terminalReason: "stop" } } })
  expect(machine.outstanding?.type).toBe("exec_code")
  machine.cancel("Stop.")
  expect(machine.outcome).toEqual(CANCELLED)
  return machine
}

test("the callback gets the code, its own state and the reason", () => {
  const given: unknown[] = []
  const machine = cancelledUnder((inner) =>
    wrapDriver(inner, {
      ownState: () => "mine",
      onExecCancelled(next, context, waiting, reason) {
        given.push(waiting.outstanding.code, waiting.driverState, reason)
        return next(context, waiting, reason)
      },
    }),
  )
  expect(given).toEqual(["x", { own: "mine", inner: null }, "Stop."])
  expect(machine.messages.at(-1)?.parts).toMatchObject([{ text: expect.stringMatching(/^Stop\. The code was running/) }])
})

test("a driver without the callback stores nothing, as does one that returns undefined", () => {
  const { onExecCancelled: _, ...without } = codeDriver()
  expect(cancelledUnder(() => without).messages).toHaveLength(2)
  expect(cancelledUnder((inner) => wrapDriver(inner, { onExecCancelled: () => undefined })).messages).toHaveLength(2)
})

test("a driver that throws, finishes or starts work does not stop a cancellation", () => {
  const throwing = cancelledUnder((inner) => ({
    ...inner,
    onExecCancelled: () => {
      throw new Error("oops")
    },
  }))
  expect(throwing.messages).toHaveLength(2)
  const work = { type: "start_exec", code: "y", driverState: null } as const
  const finish = { type: "finish", outcome: { type: "stopped", stop: { type: "incomplete" } } } as const
  cancelledUnder((inner) => ({ ...inner, onExecCancelled: () => [work, finish] }))
})

test.each([
  ["checked", TurnMachine],
  ["bare", BareTurnMachine],
] as const)("an action that nobody knows does not stop a cancellation of a %s machine either", (_, Machine) => {
  const actions = [
    { type: "emit", event: { type: "message", text: "kept?", kind: "note" } },
    { type: "mystery" },
  ] as unknown as readonly DriverAction[]
  const machine = new Machine(
    { ...BASE, driver: { ...codeDriver(), onExecCancelled: () => actions }, projector: chatProjector },
    { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Go." }] }] },
  )
  while (machine.poll() !== undefined);
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  machine.handle({ type: "llm_complete", id: 1, result: { ok: true, response: { text: "```ts\nx\n```", parts: [], usage, terminalReason: "stop" } } })
  while (machine.poll() !== undefined);
  machine.cancel("Stop.")
  expect(machine.outcome).toEqual(CANCELLED)
  const emitted: unknown[] = []
  for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) if (effect.type === "emit") emitted.push(effect.event)
  expect(emitted[0]).toMatchObject({ type: "error", envelope: { kind: "driver" } })
  expect(emitted).not.toContainEqual(expect.objectContaining({ kind: "note" }))
})
