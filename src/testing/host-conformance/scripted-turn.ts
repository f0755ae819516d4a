import { chatDriver } from "../../drivers/chat.ts"
import { codeDriver } from "../../drivers/code.ts"
import { type EffectContext, type Host, LlmCallError, pending, type ToolAnswer, type ToolEffects, ToolError } from "../../hosts/host.ts"
import type { Json } from "../../json.ts"
import type { TurnConfig } from "../../machine/config.ts"
import { userMessage } from "../../machine/user-message.ts"
import { chatProjector } from "../../projectors/chat.ts"
import type { Decision, ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Done, LlmCall, Progress } from "../../wire/effect.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { CompletedToolCall, PendingToolCall, ToolSpec } from "../../wire/tool.ts"
import { holdingDriver } from "./holding-driver.ts"

/** One tool call of a scripted turn, as data. */
export interface ScriptedCall {
  readonly effects: ToolEffects
  /** How a `once` call is looked up. Absent: it cannot be looked up. */
  readonly recover?: "finds" | "knows_nothing" | "throws" | undefined
  readonly answer: "value" | "throws" | "ends_turn"
  readonly value: Json
  /** The call waits for a person, who decides this. */
  readonly held?: "approve" | "reject"
  /** The call answers `pending`: its value comes from outside. */
  readonly isPending?: true
  /** The number of microtask ticks before the call takes effect, and before it answers. They decide the order of parallel calls. */
  readonly before: number
  readonly after: number
}

/** A turn, as data: what the model, the tools and the host's deliveries answer. */
export interface TurnScript {
  readonly driver: "chat" | "code"
  /** One batch for each iteration; under the code driver, one piece of code. */
  readonly batches: readonly (readonly ScriptedCall[])[]
  readonly modelFails: boolean
  readonly streams: boolean
  readonly syncs: boolean
  /** Checkpoints, by effect id, at which a user's message is delivered. */
  readonly deliverAt: readonly number[]
  /** When approvals expire, in milliseconds. Absent: never. */
  readonly expiresAt?: number
}

/** One piece of work that an executor does: a tool call is named `effectId:callId`, anything else `effectId`. */
export interface ScriptedWork {
  readonly name: string
  readonly effectId: number
  /** Of a tool call: its batch and its place in the batch. */
  readonly place?: CallPlace
  readonly kind: "model" | "code" | "checkpoint" | "surface" | ToolEffects
  /** Whether the world can be asked if the work took effect. */
  readonly canBeLookedUp: boolean
}

/** Which call of a script: the arguments that the model passes. */
export interface CallPlace {
  readonly batch: number
  readonly call: number
}

/** The world that the executors of a scripted turn act on. */
export interface ScriptedWorld {
  /** Lets the work take effect. May never return, as in a process that is killed. */
  perform(work: ScriptedWork, context: EffectContext): Promise<void>
  /** Whether a `once` call took effect. */
  lookUp(work: ScriptedWork): Promise<boolean>
  progress(effect: Progress | Done): Promise<void>
  /** Asks people about held calls. Returns the ids of the calls about which they decide now, in this order. Absent: about all. */
  decide?(held: readonly HeldCall[]): Promise<readonly string[]>
}

const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** The tools of scripted turns: one for each kind of effects. */
const TOOLS: { readonly [Effects in ToolEffects]: ToolSpec } = {
  none: { name: "read", description: "Reads a value.", inputSchema: { type: "object" } },
  idempotent: { name: "set", description: "Sets a value.", inputSchema: { type: "object" } },
  once: { name: "pay", description: "Pays a bill.", inputSchema: { type: "object" } },
}

/** The tools that a script calls. */
function toolsOf({ batches }: TurnScript): readonly ToolSpec[] {
  const used = new Set(batches.flat().map(({ effects }) => effects))
  return Object.entries(TOOLS).flatMap(([effects, spec]) => (used.has(effects as ToolEffects) ? [spec] : []))
}

/** The configuration of a scripted turn. */
export function configOf(script: TurnScript): TurnConfig {
  return {
    driver:
      script.driver === "code"
        ? codeDriver()
        : hasHeld(script)
          ? holdingDriver((call) => callOf(script, call).held !== undefined, script.expiresAt)
          : chatDriver(),
    projector: chatProjector,
    model: "scripted",
    systemPrompt: "Work through the list.",
    tools: script.driver === "chat" ? toolsOf(script) : [],
    maxIterations: script.batches.length + 2,
    syncExecutionSurface: script.syncs,
  }
}

export const START: TurnStart = { messages: [userMessage("Go.")] }

function hasHeld({ batches }: TurnScript): boolean {
  return batches.flat().some(({ held }) => held !== undefined)
}

/** The call of a script that the model asks for. */
function callOf({ batches }: TurnScript, { args }: PendingToolCall): ScriptedCall {
  const { batch, call } = args as unknown as CallPlace
  return batches[batch]?.[call] as ScriptedCall
}

/** The executors of a scripted turn. What they answer depends only on the request, so a resumed turn continues the script. */
export function executorsOf(script: TurnScript, world: ScriptedWorld): Host {
  const workOf = (call: PendingToolCall, { effectId }: EffectContext): ScriptedWork => {
    const { effects, recover } = callOf(script, call)
    const place = call.args as unknown as CallPlace
    return { name: `${effectId}:${call.callId}`, effectId, place, kind: effects, canBeLookedUp: recover === "finds" }
  }
  const perform = (kind: ScriptedWork["kind"], context: EffectContext): Promise<void> =>
    world.perform({ name: `${context.effectId}`, effectId: context.effectId, kind, canBeLookedUp: false }, context)
  return {
    llmCall: async (effect, context) => {
      await perform("model", context)
      await ticks(1)
      if (script.streams) context.emit({ type: "text_delta", content: "…" })
      return answerOf(script, effect)
    },
    tools: {
      call: async (call, context) => {
        const scripted = callOf(script, call)
        await ticks(scripted.before)
        await world.perform(workOf(call, context), context)
        await ticks(scripted.after)
        if (scripted.answer === "throws") throw new ToolError({ class: "execution", code: "scripted", message: "It failed." })
        return scripted.isPending ? goesOn(call) : toolAnswer(scripted)
      },
      effects: ({ toolName }) => (toolName === TOOLS.once.name ? "once" : toolName === TOOLS.none.name ? "none" : "idempotent"),
      recover: async (call, context) => {
        const scripted = callOf(script, call)
        const ran = await world.lookUp(workOf(call, context))
        if (scripted.recover === "throws") throw new Error("The ledger is not available.")
        if (scripted.recover !== "finds") return undefined
        if (!ran) return { ran: false }
        return { ran: true, answer: scripted.answer === "throws" ? failedAnswer() : scripted.isPending ? goesOn(call) : toolAnswer(scripted) }
      },
    },
    code: {
      run: async ({ code }, context) => {
        await perform("code", context)
        return { observations: [`ran ${code}`], toolCalls: [], images: [], printedImages: [], durationMs: 0 }
      },
    },
    checkpoint: async ({ id }, context) => {
      await perform("checkpoint", context)
      if (!script.deliverAt.includes(id)) return undefined
      return { userMessages: [{ id: `d${id}`, role: "user", parts: [{ id: `d${id}.p0`, type: "text", text: `And ${id}.` }] }] }
    },
    syncExecutionSurface: async ({ id }, context) => {
      await perform("surface", context)
      return id % 2 === 0 ? undefined : { systemPrompt: `Continue from ${id}.`, tools: script.driver === "chat" ? toolsOf(script) : [] }
    },
    progress: (effect) => world.progress(effect),
    ...(hasHeld(script) && {
      decide: async (held: readonly HeldCall[]): Promise<readonly Decision[]> => {
        const now = (await world.decide?.(held)) ?? held.map(({ callId }) => callId)
        return now.flatMap((callId) =>
          held.flatMap((call): Decision[] => {
            const { requestId, digest } = call
            return call.callId === callId ? [{ requestId, digest, decision: decisionOf(script, call) }] : []
          }),
        )
      },
    }),
  }
}

function answerOf({ batches, modelFails, driver }: TurnScript, { request }: LlmCall): LlmResponse {
  const answered = request.messages.filter(({ role }) => role === "assistant").length
  const batch = batches[answered]
  if (batch === undefined) {
    if (modelFails) throw new LlmCallError({ message: "No answer.", retryable: false, code: "scripted", terminalReason: "provider_error" })
    return { text: `All of ${answered} done.`, parts: [], usage: USAGE, terminalReason: "stop" }
  }
  if (driver === "code") return { text: `\`\`\`ts\nstep(${answered})\n\`\`\``, parts: [], usage: USAGE, terminalReason: "stop" }
  const parts = batch.map(({ effects }, call): LlmResponse["parts"][number] => {
    return { type: "tool_call", callId: `c${call}`, toolName: TOOLS[effects].name, inputJson: JSON.stringify({ batch: answered, call }) }
  })
  return { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
}

/** Yields to other microtasks `count` times. */
export async function ticks(count: number): Promise<void> {
  for (let tick = 0; tick < count; tick += 1) await undefined
}

function goesOn({ callId }: PendingToolCall): ToolAnswer {
  return pending({ token: `job of ${callId}` })
}

/** What people decide about a held call. */
export function decisionOf(script: TurnScript, call: PendingToolCall): "approve" | "reject" {
  return callOf(script, call).held ?? "approve"
}

/** The results that calls which continue outside get there. */
export function outsideResults(script: TurnScript, calls: readonly ExternalCall[]): readonly CompletedToolCall[] {
  return calls.map(({ token: _token, note: _note, ...call }): CompletedToolCall => {
    return { ...call, output: { status: "success", value: callOf(script, call).value }, durationMs: 0 }
  })
}

function toolAnswer({ value, answer }: ScriptedCall): ToolAnswer {
  return { output: { status: "success", value, ...(answer === "ends_turn" && { control: { type: "finish", value: "ended" } }) } }
}

function failedAnswer(): ToolAnswer {
  const { failure } = new ToolError({ class: "execution", code: "scripted", message: "It failed." })
  return { output: { status: "failure", failure } }
}
