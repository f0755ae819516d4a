import type { ContentBlock, Cost, SessionUpdate, ToolCall, ToolCallContent, ToolCallUpdate } from "@agentclientprotocol/sdk"
import { type AttachmentStore, costOf, type TokenPrices } from "turn-machine/hosts"
import type { ThreadEvent } from "turn-machine/hosts/thread"
import type { Message, ToolOutput } from "turn-machine/schemas"
import { attachmentBlock, blocksOf } from "./prompt-content.ts"
import { shownCall, shownOutput, textContent } from "./shown-calls.ts"

export interface UpdatesOptions {
  readonly cwd: string
  readonly attachments: AttachmentStore
  /** The size of the model's context window in tokens. Absent: the client is not shown how full it is. */
  readonly contextWindow?: number | undefined
  readonly prices?: TokenPrices | undefined
  /** Whether the client shows a message of the user already, because it sent it in this connection. */
  readonly isShown: (messageId: string) => boolean
}

/** A tool call that the client was sent. */
interface Call {
  readonly id: string
  readonly toolName: string
  args: unknown
  isEnded: boolean
  terminalId?: string
}

/** A model call that streams. `textId` and `thoughtId` change when what was shown is void. */
interface Streaming {
  readonly effectId: number
  readonly id: string
  text: string
  thought: string
}

const EMPTY_CALL: Streaming = { effectId: -1, id: "", text: "", thought: "" }

/**
 * Makes the updates of a session of the events of its thread. The same events give the same updates while a turn runs and when a session is
 * loaded, except that live text comes in pieces.
 */
export class Updates {
  readonly #options: UpdatesOptions
  /** The last call of each turn and id. A model may use the id of a call again. */
  readonly #calls = new Map<string, Call>()
  #count = 0
  #streaming = EMPTY_CALL
  #attempts = 0
  #costMicros = 0
  #objective = ""

  constructor(options: UpdatesOptions) {
    this.#options = options
  }

  /** The id by which the client knows a call. */
  idOf(turnId: string, callId: string): string | undefined {
    return this.#calls.get(keyOf(turnId, callId))?.id
  }

  /** A terminal of the client shows a call from now on: the last one that has this id and runs. */
  showTerminal(callId: string, terminalId: string): void {
    const call = [...this.#calls].findLast(([key, { isEnded }]) => !isEnded && key.endsWith(`\n${callId}`))?.[1]
    if (call !== undefined) call.terminalId = terminalId
  }

  async of(event: ThreadEvent): Promise<readonly SessionUpdate[]> {
    switch (event.type) {
      case "message":
        return this.#message(event.turnId ?? "", event.message)
      case "model_call_started":
        // After a crash or a redirect, text that was shown for a call is void. ACP cannot take it back, so what follows is another message.
        this.#attempts += 1
        this.#streaming = { effectId: event.effectId, id: `${event.turnId}/${event.effectId}/${this.#attempts}`, text: "", thought: "" }
        return []
      case "text_delta":
        this.#streaming.text += event.delta
        return [this.#chunk("agent_message_chunk", event.delta, this.#streaming.id)]
      case "reasoning_delta":
        this.#streaming.thought += event.delta
        return [this.#chunk("agent_thought_chunk", event.delta, `${this.#streaming.id}/thought`)]
      case "model_call_ended":
        return this.#usage(event.usage)
      case "tool_call_started":
        return this.#update(event.turnId, event.callId, event.toolName, event.args, { status: "in_progress" })
      case "tool_progress": {
        const { message, turnId, callId, toolName } = event
        const { terminalId } = this.#calls.get(keyOf(turnId, callId)) ?? {}
        const content = terminalId !== undefined ? [terminal(terminalId)] : message === undefined ? undefined : [textContent(message)]
        return content === undefined ? [] : this.#update(turnId, callId, toolName, undefined, { status: "in_progress", content })
      }
      case "approval_requested":
        return this.#update(event.turnId, event.held.callId, event.held.toolName, event.held.args, { status: "pending" })
      case "approval_decided":
        // Arguments that were edited are those that run.
        return event.args === undefined ? [] : this.#update(event.turnId, event.callId, event.toolName, event.args, { rawInput: event.args })
      case "tool_call_ended":
        return event.callId === undefined ? [] : this.#ended(event.turnId, event.callId, event.toolName, event.status, event.output)
      case "turn_ended":
        return this.#left(event.turnId)
      case "goal_updated":
        return event.goal === null || event.goal.objective === this.#objective ? [] : this.#newGoal(event.goal.objective)
      default:
        return []
    }
  }

  async #message(turnId: string, message: Message): Promise<readonly SessionUpdate[]> {
    if (message.origin !== undefined) return []
    if (message.role === "assistant") return this.#answer(turnId, message)
    // Results of tools are messages of the user's role, too; their calls have shown them.
    if (message.role !== "user" || this.#options.isShown(message.id) || message.parts.some(({ type }) => type === "tool_result")) return []
    const blocks = await blocksOf(message, this.#options.attachments)
    return blocks.map((content) => ({ sessionUpdate: "user_message_chunk", content, messageId: message.id }))
  }

  #answer(turnId: string, { id, parts }: Message): readonly SessionUpdate[] {
    const updates: SessionUpdate[] = []
    const { text: shownText, thought: shownThought, id: shownId } = this.#streaming
    this.#streaming = EMPTY_CALL
    const textOf = (type: "text" | "reasoning"): string => parts.flatMap((part) => (part.type === type ? [part.text] : [])).join("")
    const rest = (kind: "agent_message_chunk" | "agent_thought_chunk", whole: string, shown: string): void => {
      // What was streamed is shown already. A live event may be lost.
      const isContinued = whole.startsWith(shown) && shown !== ""
      const missing = isContinued ? whole.slice(shown.length) : whole
      const suffix = kind === "agent_thought_chunk" ? "/thought" : ""
      if (missing !== "") updates.push(this.#chunk(kind, missing, `${isContinued ? shownId : id}${suffix}`))
    }
    rest("agent_thought_chunk", textOf("reasoning"), shownThought)
    rest("agent_message_chunk", textOf("text"), shownText)
    for (const part of parts) {
      if (part.type !== "tool_call") continue
      updates.push(...this.#begin(turnId, part.callId, part.toolName, jsonOf(part.inputJson)))
    }
    return updates
  }

  #begin(turnId: string, callId: string, toolName: string, args: unknown): readonly SessionUpdate[] {
    this.#count += 1
    const call: Call = { id: `call-${this.#count}`, toolName, args, isEnded: false }
    const key = keyOf(turnId, callId)
    // The newest last.
    this.#calls.delete(key)
    this.#calls.set(key, call)
    const toolCall: ToolCall = { toolCallId: call.id, ...shownCall(this.#options.cwd, toolName, args), status: "pending", rawInput: args }
    return [{ sessionUpdate: "tool_call", ...toolCall }]
  }

  #update(turnId: string, callId: string, toolName: string, args: unknown, changes: Partial<ToolCallUpdate>): readonly SessionUpdate[] {
    const key = keyOf(turnId, callId)
    const known = this.#calls.get(key)
    const begun = known === undefined || known.isEnded ? this.#begin(turnId, callId, toolName, args) : []
    const call = this.#calls.get(key)
    if (call === undefined) return begun
    const isEdited = args !== undefined && JSON.stringify(args) !== JSON.stringify(call.args)
    if (isEdited) call.args = args
    const shown = isEdited ? { ...shownCall(this.#options.cwd, toolName, args), rawInput: args } : {}
    return [...begun, { sessionUpdate: "tool_call_update", toolCallId: call.id, ...shown, ...changes }]
  }

  async #ended(
    turnId: string,
    callId: string,
    toolName: string,
    status: ToolOutput["status"],
    output?: ToolOutput,
  ): Promise<readonly SessionUpdate[]> {
    const call = this.#calls.get(keyOf(turnId, callId))
    if (call?.isEnded === true) return []
    const content = await this.#contentOf(toolName, call, output)
    const updates = this.#update(turnId, callId, toolName, call?.args, {
      status: status === "success" ? "completed" : "failed",
      ...(content.length > 0 && { content }),
      ...(output !== undefined && { rawOutput: output.status === "success" ? output.value : output }),
    })
    const ended = this.#calls.get(keyOf(turnId, callId))
    if (ended !== undefined) ended.isEnded = true
    return updates
  }

  async #contentOf(toolName: string, call: Call | undefined, output: ToolOutput | undefined): Promise<ToolCallContent[]> {
    if (call?.terminalId !== undefined) return [terminal(call.terminalId)]
    if (output === undefined) return [textContent("The call was left.")]
    const { attachments, cwd } = this.#options
    const blocks: ContentBlock[] = []
    for (const ref of output.status === "success" ? attachmentsIn(output.value) : []) blocks.push(await attachmentBlock(ref, attachments))
    if (blocks.length > 0) return blocks.map((content) => ({ type: "content", content }))
    return shownOutput(cwd, toolName, call?.args, output)
  }

  /** A client must not show a call as running when its turn has ended. */
  #left(turnId: string): readonly SessionUpdate[] {
    const updates: SessionUpdate[] = []
    for (const [key, call] of this.#calls) {
      if (!key.startsWith(`${turnId}\n`)) continue
      if (!call.isEnded) updates.push({ sessionUpdate: "tool_call_update", toolCallId: call.id, status: "failed" })
      this.#calls.delete(key)
    }
    return updates
  }

  /** The command of the user that set the goal. */
  #newGoal(objective: string): readonly SessionUpdate[] {
    this.#objective = objective
    if (this.#options.isShown(goalInput(objective))) return []
    return [{ sessionUpdate: "user_message_chunk", content: { type: "text", text: `/goal ${objective}` } }]
  }

  #usage(usage: Parameters<typeof costOf>[0] | undefined): readonly SessionUpdate[] {
    const { contextWindow: size, prices } = this.#options
    if (usage === undefined) return []
    if (prices !== undefined) this.#costMicros += costOf(usage, prices)
    if (size === undefined) return []
    const cost: Cost | undefined = prices && { amount: this.#costMicros / 1_000_000, currency: "USD" }
    const used = usage.inputTokens + usage.cachedInputTokens + usage.outputTokens
    return [{ sessionUpdate: "usage_update", used, size, ...(cost !== undefined && { cost }) }]
  }

  #chunk(sessionUpdate: "agent_message_chunk" | "agent_thought_chunk", text: string, messageId: string): SessionUpdate {
    return { sessionUpdate, content: { type: "text", text }, messageId }
  }
}

/** What stands for the command that set a goal among the ids of shown messages. */
export function goalInput(objective: string): string {
  return `goal ${objective}`
}

function keyOf(turnId: string, callId: string): string {
  return `${turnId}\n${callId}`
}

function terminal(terminalId: string): ToolCallContent {
  return { type: "terminal", terminalId }
}

/** The arguments as the model wrote them: JSON that may be broken. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

type Ref = Parameters<typeof attachmentBlock>[0]

function attachmentsIn(value: unknown): readonly Ref[] {
  if (typeof value !== "object" || value === null) return []
  if ("$attachment" in value) return [value.$attachment as Ref]
  return Object.values(value).flatMap(attachmentsIn)
}
