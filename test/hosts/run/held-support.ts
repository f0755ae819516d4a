import { chatDriver } from "../../../src/drivers/chat.ts"
import { wrapDriver } from "../../../src/drivers/wrap-driver.ts"
import type { EffectContext, Host, HostTools, Suspended } from "../../../src/hosts/host.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import type { DriverAction } from "../../../src/schemas/action.ts"
import type { Ask, Decision, HeldCall } from "../../../src/schemas/approval.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { PendingToolCall } from "../../../src/schemas/tool.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { calls, configOf, newTurn, type Overrides, says, script } from "./support.ts"

const ASK: Ask = { allow: ["approve", "edit", "reject"], scopes: ["call"] }

/** A chat driver that holds the calls of some tools, and does as people decide. */
export function holding(isHeld: (call: PendingToolCall) => boolean = ({ toolName }) => toolName === "pay"): ProtocolDriver {
  const held = (actions: readonly DriverAction[]): readonly DriverAction[] =>
    actions.map((action) => {
      if (action.type !== "start_tools") return action
      const holds = action.calls.filter(isHeld).map(({ callId }) => ({ callId, digest: `sha-${callId}`, ask: ASK }))
      return holds.length === 0 ? action : { ...action, held: holds }
    })
  const chat = wrapDriver(chatDriver(), { onLlmComplete: (next, ...given) => held(next(...given)) })
  return wrapDriver(
    { ...membersOf(chat), onToolDecisions: (_context, { held: waiting }, decisions) => decisions.map((decision) => conclude(decision, waiting)) },
    { name: "holding" },
  )
}

function membersOf(driver: ProtocolDriver): ProtocolDriver {
  return { ...driver }
}

function conclude(decision: Decision, waiting: readonly HeldCall[]): DriverAction {
  const { requestId } = decision
  if (decision.decision === "approve" || decision.decision === "edit") return { type: "release_calls", requestIds: [requestId] }
  const { callId, toolName, args } = waiting.find((call) => call.requestId === requestId) as HeldCall
  const failure = { class: "permission_denied", code: "rejected", message: "A person said no.", source: "policy", retry: { type: "never" } } as const
  return { type: "settle_calls", results: [{ callId, toolName, args, output: { status: "failure", failure }, durationMs: 0 }] }
}

/** A turn that asks for some calls and then says "Done.". Its driver holds those of the tool `pay`. */
export function heldTurn(overrides: Overrides = {}): TurnMachine {
  return newTurn({ driver: holding(), ...overrides })
}

/** The turn as another process restores it. */
export function restored(machine: TurnMachine): TurnMachine {
  return TurnMachine.restore(configOf({ driver: holding() }), JSON.stringify(machine.checkpoint()))
}

export function approve({ requestId, digest }: HeldCall): Decision {
  return { requestId, digest, decision: "approve" }
}

export function reject({ requestId, digest }: HeldCall): Decision {
  return { requestId, digest, decision: "reject", message: "No." }
}

/** Hands one decision to a machine from outside its run. */
export function decided(machine: TurnMachine, decision: Decision): void {
  const id = machine.outstanding?.id ?? 0
  machine.handle({ type: "tool_decisions", id, decisions: [decision] })
}

export function heldOf({ outstanding }: TurnMachine): readonly HeldCall[] {
  return (outstanding?.type === "tool_calls" && outstanding.held) || []
}

/** The calls that a model asks for: each with its id and its tool. */
export type Asked = readonly (readonly [callId: string, toolName: string])[]

/** Tools that count how often each call ran. */
export class Counted {
  readonly counts = new Map<string, number>()
  readonly order: string[] = []
  readonly tools: HostTools

  constructor(
    call: (call: PendingToolCall, context: EffectContext) => Promise<unknown> | unknown = () => {},
    effects: HostTools["effects"] = () => "none",
  ) {
    this.tools = {
      call: async (given, context) => {
        this.counts.set(given.callId, (this.counts.get(given.callId) ?? 0) + 1)
        this.order.push(given.callId)
        const answer = await call(given, context)
        return (answer ?? { output: { status: "success", value: `ran ${given.callId}` } }) as never
      },
      effects,
    }
  }

  /** The calls that ran, each with its number. */
  get all(): { readonly [callId: string]: number } {
    return Object.fromEntries([...this.counts].sort(([left], [right]) => left.localeCompare(right)))
  }
}

/** A host whose model asks for these calls and then says "Done.". */
export function hostOf(counted: Counted, asked: Asked, more: Partial<Host> = {}): Host {
  return { llmCall: script(calls(...asked), says("Done.")), tools: counted.tools, ...more }
}

export function suspendedOf(result: Done | Suspended): Suspended {
  if (result.type !== "suspended") throw new Error(`The run ended: ${JSON.stringify(result.outcome)}`)
  return result
}

export function doneOf(result: Done | Suspended): Done {
  if (result.type !== "done") throw new Error(`The run was suspended: ${JSON.stringify(result.held)}`)
  return result
}
