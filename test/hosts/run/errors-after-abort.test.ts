import { describe, expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { calls, deferred, newTurn, script } from "./support.ts"

describe("an error that ends the run, after the turn was cancelled and before it is recorded", () => {
  test("a fatal one of an executor that the abort stops", async () => {
    const fatal = new Error("The engine suspends.")
    const controller = new AbortController()
    const host: Host = {
      llmCall: (_effect, { signal }) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(fatal))),
    }
    const machine = newTurn()
    const run = runTurn(machine, host, { signal: controller.signal, isFatal: (error) => error === fatal })
    setTimeout(() => controller.abort("Stop."), 1)
    await expect(run).rejects.toBe(fatal)
    expect(machine.done).toBe(false)
  })

  test("one of a receiver of an event that came while another answer was saved", async () => {
    const begun = deferred<void>()
    const shown = deferred<void>()
    const controller = new AbortController()
    const host: Host = {
      llmCall: script(calls(["c1", "a"], ["c2", "a"])),
      tools: {
        effects: () => "none",
        async call({ callId }, { emit }) {
          if (callId === "c2") {
            await begun.promise
            emit({ type: "text_delta", content: "Half" })
          }
          return { output: { status: "success", value: callId } }
        },
      },
      async save({ outstanding }) {
        if (outstanding?.type !== "tool_calls" || outstanding.calls.length !== 1) return
        begun.resolve()
        await shown.promise
        controller.abort("Stop.")
      },
    }
    const onEvent = async ({ type }: { readonly type: string }): Promise<void> => {
      if (type !== "text_delta") return
      shown.resolve()
      await new Promise((resolve) => setTimeout(resolve, 1))
      throw new Error("The screen is gone.")
    }
    await expect(runTurn(newTurn(), host, { signal: controller.signal, onEvent })).rejects.toThrow("The screen is gone.")
  })
})
