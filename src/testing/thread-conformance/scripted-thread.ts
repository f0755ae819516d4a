import { approvalDriver } from "../../drivers/approval/driver.ts"
import { chatDriver } from "../../drivers/chat.ts"
import type { EffectContext, Host, ToolEffects } from "../../hosts/host.ts"
import type { TurnConfig } from "../../machine/config.ts"
import { chatProjector } from "../../projectors/chat.ts"
import type { LlmMessage, LlmRequest, LlmResponse } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"

/**
 * What a user asks for, as the word after the key of an input: `a: work`. `talk`: an answer. `work`: a batch of calls of each kind. `sign`: a call
 * that waits for a person, beside one that does not.
 */
export type Verb = "talk" | "work" | "sign"

/** The tools of scripted threads. `step`: one step of a goal. */
export type ToolName = "look" | "set" | "pay" | "sign" | "step"

/** One piece of work that an executor does. */
export interface ThreadWork {
  /** The same whenever the work runs again: `pay of a`, or the place of a model call. */
  readonly name: string
  readonly kind: "model" | ToolEffects
}

/** The world that the executors of a scripted thread act on. */
export interface ScriptedThreadWorld {
  /** Performs a model call. May never return, as in a process that is killed. */
  ask(request: LlmRequest, context: EffectContext): Promise<void>
  /** Performs a tool call. */
  perform(work: ThreadWork, context: EffectContext): Promise<void>
}

/** The tokens that each answer of the model costs. */
export const ANSWER_TOKENS = 12

const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

const spec = (name: ToolName, description: string): ToolSpec => ({ name, description, inputSchema: { type: "object" } })

const TOOLS: readonly ToolSpec[] = [
  spec("look", "Reads a value."),
  spec("set", "Sets a value."),
  spec("pay", "Pays a bill."),
  spec("sign", "Signs a letter."),
  spec("step", "Takes a step towards the goal."),
]

/** An approval of a held call expires after this time, in milliseconds. */
export const TTL_MS = 600_000

/** The configuration of the turns. Only threads with held calls have a driver that holds them. */
export function threadConfig(hasHeld: boolean): TurnConfig {
  const driver = chatDriver()
  return {
    driver: hasHeld
      ? approvalDriver(driver, { policy: ({ toolName }) => (toolName === "sign" ? { hold: { scopes: ["call"] } } : "run"), ttlMs: TTL_MS })
      : driver,
    projector: chatProjector,
    model: "scripted",
    systemPrompt: "Do what you are asked.",
    tools: TOOLS,
  }
}

/** The text of an input. */
export function inputText(key: string, verb: Verb): string {
  return `${key}: ${verb}`
}

/** The objective of a goal that takes this many steps. */
export function objectiveOf(name: string, steps: number): string {
  return `Take ${steps} steps of ${name}.`
}

/** What a tool call is about: the key of an input, or the name of a goal and the number of a step. */
interface CallArgs {
  readonly of: string
  readonly step?: number
}

/** The executors of a scripted thread. What they answer depends only on the request, so a resumed turn continues as it would have. */
export function threadExecutors(runsOnce: boolean, world: ScriptedThreadWorld): Host {
  const effectsOf = (tool: string): ToolEffects =>
    tool === "look" ? "none" : runsOnce && (tool === "pay" || tool === "sign") ? "once" : "idempotent"
  return {
    llmCall: async ({ request }, context) => {
      await world.ask(request, context)
      return answerTo(request)
    },
    tools: {
      call: async ({ toolName, args }, context) => {
        const { of, step } = args as unknown as CallArgs
        const name = `${toolName}${step === undefined ? "" : ` ${step}`} of ${of}`
        await world.perform({ name, kind: effectsOf(toolName) }, context)
        return { output: { status: "success", value: `${name}: done` } }
      },
      effects: ({ toolName }) => effectsOf(toolName),
    },
  }
}

/** The keys and verbs of the inputs in a message that is not the model's. */
export function inputsIn(message: LlmMessage): readonly { readonly key: string; readonly verb: Verb }[] {
  if (message.role === "assistant") return []
  return textsOf(message).flatMap((text) =>
    [...text.matchAll(/^(\w+): (talk|work|sign)$/gm)].map(([, key = "", verb]) => ({ key, verb: verb as Verb })),
  )
}

function textsOf({ blocks }: LlmMessage): readonly string[] {
  return blocks.flatMap((block) => (block.type === "text" ? [block.text] : []))
}

function answerTo({ messages, tools }: LlmRequest): LlmResponse {
  const answered = messages.map(({ role }) => role).lastIndexOf("assistant")
  const fresh = messages.slice(answered + 1)
  const inputs = fresh.flatMap(inputsIn)
  const calls = inputs.flatMap(({ key, verb }) => callsFor(key, verb))
  if (calls.length > 0) return asks(calls)
  if (inputs.length > 0) return says(`Heard ${inputs.map(({ key }) => key).join(", ")}.`)
  const results = fresh.flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === "tool_result" ? [block.toolName ?? ""] : [])))
  if (results.length > 0) return says(`Done: ${callNames(messages.slice(0, answered + 1)).join(", ")}.`)
  return tools.some(({ name }) => name === "update_goal") ? nextStep(messages) : says("Nothing to do.")
}

function callsFor(key: string, verb: Verb): readonly Call[] {
  const call = (tool: ToolName): Call => ({ id: `${tool}-${key}`, tool, args: { of: key } })
  if (verb === "work") return [call("look"), call("set"), call("pay")]
  return verb === "sign" ? [call("sign"), call("set")] : []
}

/** A turn of a goal takes one step. After the last one, the goal is complete. */
function nextStep(messages: readonly LlmMessage[]): LlmResponse {
  const goals = messages.flatMap((message) => (message.role === "assistant" ? [] : textsOf(message))).join("\n")
  const [, steps = "0", name = ""] = [...goals.matchAll(/Take (\d+) steps of (\w+)\./g)].at(-1) ?? []
  const taken = messages.flatMap(({ blocks }) =>
    blocks.filter((block) => block.type === "tool_call" && block.toolName === "step" && (JSON.parse(block.inputJson) as CallArgs).of === name),
  ).length
  if (taken < Number(steps)) return asks([{ id: `step-${name}-${taken + 1}`, tool: "step", args: { of: name, step: taken + 1 } }])
  return asks([{ id: `end-${name}`, tool: "update_goal", args: { status: "complete" } }])
}

interface Call {
  readonly id: string
  readonly tool: string
  readonly args: object
}

function asks(calls: readonly Call[]): LlmResponse {
  const parts = calls.map(({ id, tool, args }): LlmResponse["parts"][number] => {
    return { type: "tool_call", callId: id, toolName: tool, inputJson: JSON.stringify(args) }
  })
  return { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
}

function says(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
}

/** The calls of the last answer. */
function callNames(messages: readonly LlmMessage[]): readonly string[] {
  return messages.at(-1)?.blocks.flatMap((block) => (block.type === "tool_call" ? [block.callId] : [])) ?? []
}
