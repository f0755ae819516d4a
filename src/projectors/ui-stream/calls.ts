import type { Json } from "../../json.ts"
import type { ToolCallPart, ToolResultPart } from "../../wire/message.ts"
import type { ApprovalDecided, ApprovalRequested, ToolCallEnded, ToolCallPending, ToolCallStarted } from "../../wire/thread-event.ts"
import type { ToolOutput } from "../../wire/tool.ts"
import { argumentsOf } from "./blocks.ts"
import type { UiChunk, UiStreamOptions } from "./chunks.ts"

/** `asked`: the model called it. `left`: it ended, and the message with its result says how. */
type CallState = "asked" | "held" | "running" | "outside" | "left" | "ended"

interface Call {
  readonly toolName: string
  readonly args: Json
  readonly state: CallState
  /** A person decided that it does not run, or no decision came in time. */
  readonly isDenied?: true
}

/** The tool calls of a turn as a page shows them. */
export class ToolCalls {
  readonly #options: UiStreamOptions
  readonly #calls = new Map<string, Call>()
  /** What the user was asked, by request. */
  readonly #asked = new Map<string, { readonly [key: string]: Json }>()

  constructor(options: UiStreamOptions) {
    this.#options = options
  }

  /** Whether the turn waits for a page: a call is held or is one of the page's own, and no other runs. */
  get areWaiting(): boolean {
    let waits = false
    for (const { state, toolName } of this.#calls.values()) {
      if (state === "asked" || state === "running" || state === "left") return false
      if (state === "held" || (state === "outside" && this.#options.clientTools?.includes(toolName) === true)) waits = true
    }
    return waits
  }

  /** The model called a tool. */
  asked(part: ToolCallPart): readonly UiChunk[] {
    const { callId, toolName, inputJson } = part
    const args = argumentsOf(part)
    this.#calls.set(callId, { toolName, args: args ?? inputJson, state: "asked" })
    const input = { toolCallId: callId, toolName, input: args ?? inputJson, ...this.#dynamic(toolName) }
    if (args !== undefined) return [{ type: "tool-input-available", ...input }]
    return [{ type: "tool-input-error", ...input, errorText: "The arguments are not a JSON object." }]
  }

  held({ held: { callId, toolName, args, requestId, digest, ask } }: ApprovalRequested): readonly UiChunk[] {
    const shown = this.#shown(callId, toolName, args, "held")
    const asked = ask as unknown as { readonly [key: string]: Json }
    this.#asked.set(requestId, asked)
    const data = { ...asked, requestId, callId, toolName }
    return [
      ...shown,
      { type: "data-approval", id: requestId, data },
      { type: "tool-approval-request", approvalId: requestId, toolCallId: callId, signature: digest },
    ]
  }

  decided({ requestId, callId, toolName, decision, args: edited, by }: ApprovalDecided): readonly UiChunk[] {
    const known = this.#calls.get(callId)
    const args = edited ?? known?.args ?? {}
    const runs = decision === "approve" || decision === "edit"
    this.#calls.set(callId, { toolName, args, state: "running", ...(!runs && { isDenied: true as const }) })
    const data = { ...this.#asked.get(requestId), requestId, callId, toolName, decision, ...(by !== undefined && { by }) }
    const shown: UiChunk = { type: "data-approval", id: requestId, data }
    // A page that did not decide shows no buttons any more.
    return runs || known === undefined ? [shown, this.#input(callId, toolName, args)] : [shown]
  }

  started({ callId, toolName, args }: ToolCallStarted): readonly UiChunk[] {
    return this.#shown(callId, toolName, args, "running")
  }

  outside({ callId, toolName, note }: ToolCallPending): readonly UiChunk[] {
    const shown = this.#shown(callId, toolName, {}, "outside")
    // The token would let the page answer in the place of the work.
    return [...shown, { type: "data-pending", id: callId, data: { callId, toolName, ...(note !== undefined && { note }) } }]
  }

  ended({ callId, toolName, output }: ToolCallEnded): readonly UiChunk[] {
    if (callId === undefined) return []
    const shown = this.#shown(callId, toolName, {}, output === undefined ? "left" : "ended")
    return output === undefined ? shown : [...shown, this.#output(callId, output)]
  }

  /** The result of a call as the model reads it; for calls that no other event ended. */
  result({ callId, toolName = "", text, isError }: ToolResultPart): readonly UiChunk[] {
    const known = this.#calls.get(callId)
    if (known?.state === "ended") return []
    const shown = this.#shown(callId, toolName, {}, "ended")
    return [
      ...shown,
      isError === true ? this.#failed(callId, text) : { type: "tool-output-available", toolCallId: callId, output: text, ...this.#dynamicOf(callId) },
    ]
  }

  #output(callId: string, output: ToolOutput): UiChunk {
    if (output.status === "success") return { type: "tool-output-available", toolCallId: callId, output: output.value, ...this.#dynamicOf(callId) }
    return this.#failed(callId, output.status === "failure" ? output.failure.message : output.message)
  }

  #failed(callId: string, errorText: string): UiChunk {
    if (this.#calls.get(callId)?.isDenied === true) return { type: "tool-output-denied", toolCallId: callId }
    return { type: "tool-output-error", toolCallId: callId, errorText, ...this.#dynamicOf(callId) }
  }

  /** Notes the state of a call. One that no message showed is shown now. */
  #shown(callId: string, toolName: string, args: Json, state: CallState): readonly UiChunk[] {
    const known = this.#calls.get(callId)
    this.#calls.set(callId, known === undefined ? { toolName, args, state } : { ...known, state })
    return known === undefined ? [this.#input(callId, toolName, args)] : []
  }

  #input(callId: string, toolName: string, input: Json): UiChunk {
    return { type: "tool-input-available", toolCallId: callId, toolName, input, ...this.#dynamic(toolName) }
  }

  #dynamicOf(callId: string): { readonly dynamic?: true } {
    return this.#dynamic(this.#calls.get(callId)?.toolName ?? "")
  }

  #dynamic(toolName: string): { readonly dynamic?: true } {
    const { dynamicTools = false } = this.#options
    return (typeof dynamicTools === "function" ? dynamicTools(toolName) : dynamicTools) ? { dynamic: true } : {}
  }
}
