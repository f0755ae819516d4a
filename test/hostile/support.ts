import { afterEach, expect } from "vitest"
import { CheckpointError, ProtocolError, SchemaError, type TurnError } from "../../src/errors.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { callsTools, completed, configOf, driverOf, pending, pollAll, respond, userMessage } from "../machine/support.ts"

// The validating machine refuses hostile input with a stable code and leaves the turn unchanged, or accepts it, and the turn can
// still be saved and restored. It throws no other error and changes no prototype.

const PROTOTYPES = [Object.prototype, Array.prototype, Function.prototype, String.prototype] as const
const OWN_NAMES = PROTOTYPES.map((prototype) => Reflect.ownKeys(prototype).length)

/** Checks after each test that no prototype was changed. Called once in each test file. */
export function expectPrototypesUnchanged(): void {
  afterEach(() => {
    expect(PROTOTYPES.map((prototype) => Reflect.ownKeys(prototype).length)).toEqual(OWN_NAMES)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })
}

export const CONFIG: TurnConfig = configOf({
  driver: driverOf({
    prepareIteration: () => [{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }],
    onExecResult: () => [{ type: "start_exec", code: "next", driverState: null }],
  }),
})

const ASK = { summary: "s", risk: "low", allow: ["approve", "edit", "reject"], scopes: ["turn", "thread"], expiresAt: 100 } as const

/** Two calls are held, as requests `1:a` and `1:b`, and a third may run. */
export const HOLDING: TurnConfig = configOf({
  driver: driverOf({
    prepareIteration: () => {
      const held = ["a", "b"].map((callId) => ({ callId, digest: `digest of ${callId}`, ask: ASK }))
      return [{ type: "start_tools", calls: [pending("a"), pending("b"), pending("c")], held }]
    },
    onToolDecisions: (_context, { held }, decisions) =>
      decisions.flatMap(({ requestId, decision }): readonly DriverAction[] => {
        const { callId = "" } = held.find((call) => call.requestId === requestId) ?? {}
        const runs = decision === "approve" || decision === "edit"
        return [runs ? { type: "release_calls", requestIds: [requestId] } : { type: "settle_calls", results: [completed(callId)] }]
      }),
  }),
})

/** Saved turns, each waiting for one type of response, as effect 1 or 2. */
export const SAVED: { readonly [Type in Response["type"]]: { readonly config: TurnConfig; readonly text: string; readonly id: number } } = {
  execution_surface_synced: begun(configOf({ syncExecutionSurface: true })),
  llm_complete: begun(configOf({ emitLlmTrace: true })),
  tool_results: begun(configOf(), callsTools(1, ["a", "b"])),
  tool_decisions: begun(HOLDING),
  tool_pending: begun(configOf(), callsTools(1, ["a", "b"])),
  exec_result: begun({ ...CONFIG, driver: { ...CONFIG.driver, prepareIteration: () => [{ type: "start_exec", code: "1", driverState: {} }] } }),
  checkpoint_delivery: begun(CONFIG),
}

function begun(config: TurnConfig, ...responses: readonly Response[]) {
  const machine = new TurnMachine(config, { messages: [userMessage("hello")] })
  pollAll(machine)
  for (const response of responses) respond(machine, response)
  return { config, text: JSON.stringify(machine.checkpoint()), id: machine.outstanding?.id ?? 0 }
}

/** Performs an operation on a machine. Returns the error code, "accepted" or "unchanged"; any other error fails the test. */
export function outcomeOf(machine: TurnMachine, config: TurnConfig, act: () => unknown): string {
  const before = JSON.stringify(machine.checkpoint())
  try {
    act()
  } catch (error) {
    expectOurs(error)
    expect(JSON.stringify(machine.checkpoint())).toBe(before)
    return (error as TurnError).code
  }
  const after = JSON.stringify(machine.checkpoint())
  expect(JSON.stringify(TurnMachine.restore(config, after).checkpoint().messages)).toBe(JSON.stringify(machine.messages))
  pollAll(machine)
  return after === before ? "unchanged" : "accepted"
}

function expectOurs(error: unknown): void {
  const ours = error instanceof SchemaError || error instanceof ProtocolError || error instanceof CheckpointError
  if (!ours) throw new Error(`Threw ${error instanceof Error ? error.stack : String(error)}`, { cause: error })
  expect(error.code).toMatch(/^[a-z_]+$/)
}

export function give(type: Response["type"], response: unknown): string {
  const { config, text } = SAVED[type]
  const machine = TurnMachine.restore(config, text)
  return outcomeOf(machine, config, () => machine.handle(response as Response))
}
