import { expect, test } from "vitest"
import type { Effect } from "../../src/schemas/effect.ts"
import type { HistoryRecord } from "../../src/schemas/message.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  callsTools,
  completed,
  configOf,
  delivers,
  effectNames,
  moved,
  plain,
  pollAll,
  respond,
  results,
  says,
  userMessage,
} from "../machine/support.ts"

const CONFIG = configOf()

function chat(): TurnMachine {
  return new TurnMachine(CONFIG, { messages: [userMessage("Look around.")], events: [{ type: "protocol", event: "from before" }] })
}

test("what tools depend on is emitted before their calls, both live and after a restore", () => {
  const machine = chat()
  pollAll(machine)
  machine.handle(callsTools(1, ["a"]))
  const restored = moved(machine, CONFIG)
  for (const each of [machine, restored]) {
    const effects = effectNames(pollAll(each))
    expect(effects.indexOf("progress")).toBeGreaterThan(-1)
    expect(effects.indexOf("progress")).toBeLessThan(effects.indexOf("tool_calls 2"))
  }
})

test("a store that records only progress has the whole history of the turn, once", () => {
  const machine = chat()
  const store: HistoryRecord[] = []
  const keep = (effects: readonly Effect[]): void => {
    for (const effect of effects) if (effect.type === "progress" || effect.type === "done") store.push(...effect.eventDelta)
  }
  keep(pollAll(machine))
  keep(respond(machine, callsTools(1, ["a"])))
  keep(respond(machine, results(2, completed("a"))))
  keep(
    respond(
      machine,
      delivers(3, { userMessages: [userMessage("And?", "u2")], events: ["noted"], messages: [{ role: "system", content: "not history" }] }),
    ),
  )
  machine.apply([{ type: "append_events", events: [{ type: "protocol", event: "aside" }] }])
  keep(pollAll(machine))
  machine.handle(says(4, "Nothing."))
  // The process dies here, before anything of the answer was emitted.
  const restored = moved(machine, CONFIG)
  keep(pollAll(restored))
  keep(respond(restored, delivers(5)))

  const names = store.map((record) => (record.type === "protocol" ? record.event : record.message.id))
  expect(names).toEqual(["m_0_assistant_1", "m_0_tools_2", "u2", "noted", "aside", "m_0_assistant_4"])
  expect([{ type: "protocol", event: "from before" }, ...store]).toEqual(plain(restored.events))
})

test("the end is emitted once: outcome, done event, done, and then nothing", () => {
  const machine = chat()
  pollAll(machine)
  respond(machine, says(1, "Nothing."))
  const end = respond(machine, delivers(2))
  expect(effectNames(end)).toEqual(["emit turn_outcome", "emit done", "done"])
  machine.cancel()
  machine.finish({ type: "agent_frame_switch", frameId: "f" })
  machine.fail({ type: "error", message: "late" })
  expect(machine.handle(delivers(2))).toEqual({ status: "stale" })
  expect(machine.poll()).toBeUndefined()
  expect(pollAll(moved(machine, CONFIG))).toEqual([])
  expect(machine.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Nothing." } })
})
