import { chatDriver } from "../../src/drivers/chat.ts"
import { childTool } from "../../src/hosts/child/index.ts"
import type { Host } from "../../src/hosts/host.ts"
import { journaled } from "../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { childPlace } from "../../src/hosts/run/child-place.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { userMessage } from "../../src/machine/user-message.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import { GatedProcess, GatedStore } from "./gated-process.ts"
import {
  CALL_TOKENS,
  CHILD_TOKENS,
  gatesOf,
  type LeaseInput,
  type LeaseModel,
  type LeaseState,
  type Result,
  TOTAL_TOKENS,
  usedBy,
} from "./lease-model.ts"
import { replaySteps, settle } from "./settle.ts"

/** What a store does wrong, to see that the replays find it. */
export type LeaseWorldFault = "no_fencing" | "grants_lost" | "headers_lost"

const TURN = "t"
const TURN_ID = "T"
const NOW = 1_000_000
const USAGE = { inputTokens: CALL_TOKENS - 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
const WORK = { name: "work", description: "Works.", inputSchema: { type: "object" } }
const CONFIG: TurnConfig = { driver: chatDriver(), projector: chatProjector, model: "scripted", tools: [WORK] }

/** The names of the journals of both subagents. The batch is the second effect of the turn, after the call of the model. */
const CHILDREN: readonly string[] = ["c0", "c1"].map(
  (callId) =>
    childPlace({ store: memoryJournalStore(), name: TURN, depth: 0 }, { turnId: TURN_ID, effectId: 2, callId, signal: new AbortController().signal })
      .name,
)

const TURN_GATES: { readonly [type: string]: string } = { child_granted: "grant", tool_results: "result", llm_complete: "model" }
const CHILD_GATES: { readonly [type: string]: string } = { header: "begin", llm_complete: "model", tool_results: "tools" }
const LOST: { readonly [Fault in LeaseWorldFault]?: string } = { grants_lost: "child_granted", headers_lost: '"parent":' }

/** A store in memory, and processes that run one turn with the real `journaled` and `childTool`. Each stops at every gate. */
class LeaseWorld extends GatedStore {
  readonly processes: (LeaseProcess | undefined)[] = []
  readonly fault: LeaseWorldFault | undefined

  constructor(fault?: LeaseWorldFault) {
    super()
    this.fault = fault
  }

  /** Stores the beginning of the turn: its model has asked for both subagents. */
  async begin(): Promise<void> {
    const process = new LeaseProcess(this)
    process.run()
    for (let round = 0; !process.gates.includes("open 0") || !process.gates.includes("open 1"); round += 1) {
      if (process.isGone || round > 1_000) throw process.fault ?? new Error(`The turn has not begun: ${JSON.stringify(process.gates)}`)
      const [gate] = process.gates
      if (gate !== undefined && !gate.endsWith(" 0") && !gate.endsWith(" 1")) process.passGate((name) => name === gate)
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    }
    process.killAt(0, () => false)
  }

  perform({ type, process: number, call }: LeaseInput, state: LeaseState, isTorn: boolean): void {
    if (type === "open") {
      const process = new LeaseProcess(this)
      this.processes[number] = process
      process.run()
      return
    }
    const process = this.processes[number]
    if (process === undefined) throw new Error(`Process ${number} does not live.`)
    if (type === "crash") process.killAt(isTorn ? 0.5 : 0, () => true)
    else if (call === undefined) process.passGate((name) => name === "open turn" || name.startsWith("turn "))
    else {
      const isLook = state.processes[number]?.calls[call]?.at === "look"
      process.passGate((name) => (isLook ? name === "look" : name.endsWith(` ${call}`)))
    }
  }
}

class LeaseProcess extends GatedProcess {
  constructor(world: LeaseWorld) {
    const lost = world.fault === undefined ? undefined : LOST[world.fault]
    super(world, {
      isGated: true,
      openGate: (name) => (name === TURN ? "open turn" : `open ${CHILDREN.indexOf(name)}`),
      appendGate: (name, types) => {
        const gates = types.map((type) => (name === TURN ? TURN_GATES : CHILD_GATES)[type] ?? type)
        return name === TURN ? `turn ${gates.join(" + ")}` : `${gates.join(" + ")} ${CHILDREN.indexOf(name)}`
      },
      listGate: "look",
      isUnfenced: world.fault === "no_fencing",
      ...(lost !== undefined && { kept: (text) => (text.includes(lost) ? "" : text) }),
    })
  }

  run(): void {
    this.attempt(async () => {
      const sub = childTool({
        name: "sub",
        description: "A subagent.",
        config: CONFIG,
        host: CHILD_HOST,
        budget: { tokens: CHILD_TOKENS, total: TOTAL_TOKENS },
      })
      const tools = toolbox([sub])
      const host: Host = { tools, llmCall: async (effect) => (answersOf(effect) === 0 ? asks("sub", "c0", "c1") : ANSWER) }
      const turn = { config: { ...CONFIG, tools: tools.specs }, start: { messages: [userMessage("Ask both.")] }, turnId: TURN_ID }
      await journaled(host, this.store()).run(TURN, turn, { now: () => NOW })
      this.ends()
    })
  }
}

const CHILD_HOST: Host = {
  llmCall: async (effect) => (answersOf(effect) === 0 ? asks("work", "w") : ANSWER),
  tools: { effects: () => "idempotent", call: async () => ({ output: { status: "success", value: "done" } }) },
}

const ANSWER: LlmResponse = { text: "An answer.", parts: [{ type: "text", text: "An answer." }], usage: USAGE, terminalReason: "stop" }

function asks(toolName: string, ...callIds: readonly string[]): LlmResponse {
  const parts = callIds.map((callId) => ({ type: "tool_call", callId, toolName, inputJson: '{"task":"Work."}' }) as const)
  return { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
}

function answersOf({ request }: Parameters<Host["llmCall"]>[0]): number {
  return request.messages.filter(({ role }) => role === "assistant").length
}

/** What both the model and the real processes can show. `results`: with the tokens that they count. */
interface Shown {
  readonly grants: readonly (number | null)[]
  readonly results: readonly (string | null)[]
  readonly turn: readonly string[]
  readonly children: readonly { readonly lease: number | null; readonly records: readonly string[] }[]
  readonly processes: readonly (readonly string[] | null)[]
}

function shownByModel({ turn, children, processes }: LeaseState): Shown {
  const resultOf = (result: Result | null, call: number): string | null => {
    const child = children[call]
    return result === null || child === undefined ? null : `${result} ${result === "refused" ? 0 : usedBy(child)}`
  }
  return {
    grants: turn.grants,
    results: turn.results.map(resultOf),
    turn: turn.records,
    children: children.map(({ lease = null, records }) => ({ lease, records })),
    processes: processes.map((process) => process && [...gatesOf(process)].sort()),
  }
}

interface RealRecord {
  readonly type: string
  readonly callId?: string
  readonly lease?: number
  readonly parent?: { readonly lease?: number }
  readonly results?: readonly {
    readonly callId: string
    readonly output: { readonly status: string; readonly failure?: { readonly code: string } }
    readonly usage?: { readonly inputTokens: number; readonly outputTokens: number }
  }[]
}

const RESULTS: { readonly [code: string]: Result } = { child_max_tokens: "used_up", child_budget: "refused" }

function shownByWorld(world: LeaseWorld): Shown {
  const records = world.records(TURN) as readonly RealRecord[]
  const given = (callId: string): number | null =>
    records.find((record) => record.type === "child_granted" && record.callId === callId)?.lease ?? null
  const results = records.flatMap((record) => record.results ?? [])
  const resultOf = (callId: string): string | null => {
    const found = results.find((result) => result.callId === callId)
    if (found === undefined) return null
    const { output, usage = { inputTokens: 0, outputTokens: 0 } } = found
    const { code = "ok" } = output.failure ?? {}
    return `${RESULTS[code] ?? code} ${usage.inputTokens + usage.outputTokens}`
  }
  return {
    grants: ["c0", "c1"].map(given),
    results: ["c0", "c1"].map(resultOf),
    // The first answer of the model has asked for the subagents.
    turn: records
      .filter(({ type }) => type === "llm_complete" || type === "end")
      .map(({ type }) => TURN_GATES[type] ?? type)
      .slice(1),
    children: CHILDREN.map((name) => {
      const [header, ...rest] = world.records(name) as readonly RealRecord[]
      const known = rest.flatMap(({ type }) => (type === "end" ? ["end"] : (CHILD_GATES[type] ?? [])))
      return { lease: header?.parent?.lease ?? null, records: known }
    }),
    processes: ([0, 1] as const).map((number) => {
      const process = world.processes[number]
      return process === undefined || process.isGone ? null : [...process.gates].sort()
    }),
  }
}

/**
 * Takes the steps of a path with real processes, and then those that lead to the end of the turn. After each step, what is stored and where each
 * process waits must be as in the model. Returns how many steps were taken. @throws {ReplayError}
 */
export async function replayLeases(model: LeaseModel, path: readonly LeaseInput[], fault?: LeaseWorldFault): Promise<number> {
  const world = new LeaseWorld(fault)
  await world.begin()
  return replaySteps<LeaseState, LeaseInput>(
    {
      model,
      perform: (input, before, isTorn) => world.perform(input, before, isTorn),
      settle: (state, steps) => settle(world.processes, shownByModel(state), () => shownByWorld(world), steps),
      towardsEnd: (inputs) => inputs.find(({ type }) => type === "step") ?? inputs.find(({ type }) => type === "open"),
    },
    path,
  )
}
