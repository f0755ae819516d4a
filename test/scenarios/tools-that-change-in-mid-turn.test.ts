import { expect, test } from "vitest"
import { expectTurn } from "../../src/testing/index.ts"
import { callsTools, completed, configOf, delivers, plain, results, says, userMessage } from "../machine/support.ts"

const tool = (name: string) => ({ name, description: `Can ${name}.`, inputSchema: { type: "object" } })
const CONFIG = configOf({ syncExecutionSurface: true, systemPrompt: "Old prompt.", tools: [tool("look")] })

test("tools and prompt that a host changes between iterations reach the model, and remain after a restore", () => {
  const turn = expectTurn(CONFIG, { messages: [userMessage("Dig.")] }, [
    { type: "poll" },
    { type: "respond", response: { type: "execution_surface_synced", id: 1, result: { ok: true } } },
    { type: "poll" },
    { type: "respond", response: callsTools(2, ["a"]) },
    { type: "poll" },
    { type: "respond", response: results(3, completed("a")) },
    { type: "poll" },
    { type: "respond", response: delivers(4) },
    { type: "poll" },
    {
      type: "respond",
      response: { type: "execution_surface_synced", id: 5, result: { ok: true, update: { systemPrompt: "New prompt.", tools: [tool("fill")] } } },
    },
    { type: "poll" },
    { type: "respond", response: says(6, "Filled.") },
    { type: "poll" },
    { type: "respond", response: delivers(7) },
    { type: "poll" },
  ])
  const requests = turn.effects.flatMap((effect) => (effect.type === "llm_call" ? [plain(effect.request)] : []))
  expect(requests.map(({ tools }) => tools.map(({ name }) => name))).toEqual([["look"], ["fill"]])
  expect(requests.map(({ messages: [first] }) => first)).toEqual([
    { role: "system", blocks: [{ type: "text", text: "Old prompt." }] },
    { role: "system", blocks: [{ type: "text", text: "New prompt." }] },
  ])
  expect(turn.effects.filter((effect) => effect.type === "sync_execution_surface")).toEqual([
    { type: "sync_execution_surface", id: 1, updateMachineConfig: false },
    { type: "sync_execution_surface", id: 5, updateMachineConfig: true },
  ])
})

test("a host that cannot refresh them ends the turn, and says why", () => {
  const turn = expectTurn(CONFIG, { messages: [userMessage("Dig.")] }, [
    { type: "poll" },
    { type: "respond", response: { type: "execution_surface_synced", id: 1, result: { ok: false, error: " no plugin " } } },
    { type: "poll" },
  ])
  expect(turn.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error" } })
  expect(turn.effects).toContainEqual({
    type: "emit",
    event: {
      type: "error",
      message: "Execution surface not refreshed:  no plugin ",
      envelope: {
        kind: "execution_surface",
        code: "reconfigure_failed",
        userMessage: "Execution surface not refreshed:  no plugin ",
        raw: "no plugin",
      },
    },
  })
})
