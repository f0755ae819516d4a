import { canonicalJson, type Json } from "../../json.ts"
import { quoted } from "../../text.ts"
import type { PendingToolCall, ToolSpec } from "../../wire/tool.ts"
import { type EffectContext, type ToolAnswer, type ToolEffects, ToolError } from "../host.ts"
import { checkEffects } from "../tools/definition-checks.ts"
import type { LiveToolbox } from "../tools/merge-toolboxes.ts"
import { failed, invalidRequest, unknownTool } from "../tools/toolbox.ts"
import { callTool, featuresOf, isClient, type McpClient, onListChanged, type RequestOptions } from "./client.ts"
import { Connection, type McpConnect, unlessAborted } from "./connection.ts"
import { type ExtraTool, extraTools } from "./extra-tools.ts"
import { failureOf, type Trouble, troubleOf } from "./failures.ts"
import { answerOf, effectsOf, type McpHints, mayAsk, readHints } from "./hints.ts"
import { type ListedTool, listTools, type McpProblem } from "./listed-tools.ts"
import { McpToolboxError } from "./mcp-error.ts"
import { hasPrefix } from "./names.ts"
import { type CheckedOptions, checkOptions, type McpToolboxOptions } from "./options.ts"
import { progressOf } from "./progress.ts"
import { type ReadResult, readCallResult } from "./result.ts"

/** A tool of a server as it is offered. */
export interface McpTool {
  /** As the server names it. */
  readonly name: string
  /** As the model is shown it. */
  readonly shownName: string
  readonly hints: McpHints
  readonly effects: ToolEffects
}

/** The tools of an MCP server: `specs` for the turn's config, `approvals` for its driver, and the rest for `Host.tools`. */
export interface McpToolbox extends LiveToolbox {
  /** The tools that are offered now, in the order of `specs`. */
  readonly tools: readonly McpTool[]
  /** The tools of the server that are left out, and why. */
  readonly problems: readonly McpProblem[]
  /** What the server calls itself. `undefined`: it is not connected, or does not say. */
  readonly server: { readonly name: string; readonly version: string } | undefined
  /** Calls fail from now on. Closes the client that a connect function returned; one that was passed belongs to the caller. Idempotent. */
  close(): Promise<void>
}

/**
 * Reads the tools of an MCP server, and makes a toolbox of them. `source`: a connected client of `@modelcontextprotocol/client` or
 * `@modelcontextprotocol/sdk`; or a function that returns one, which is called again after the connection was lost.
 *
 *     const files = await mcpToolbox(connect, { prefix: "files", attachments })
 *     const tools = mergeToolboxes([toolbox([clock]), files])
 *
 * What the server says is data: names are mapped, texts and lists have limits, and tools that no model can be shown are left out. A call whose
 * connection is lost is sent again over a new one, if it may run twice; otherwise it fails as `outcome_unknown`. A call of a tool that
 * changed since the model was shown it fails as `tool_changed`.
 * @throws {McpToolboxError} `invalid_client`, `invalid_option`, `unknown_option`, `invalid_prefix`, `connect_failed`, `list_failed`,
 *   `too_many_tools`, `unknown_tool`
 * @throws {ToolDefinitionError} `invalid_effects`
 */
export async function mcpToolbox(source: McpClient | McpConnect, options: McpToolboxOptions = {}): Promise<McpToolbox> {
  if (typeof source !== "function" && !isClient(source))
    throw new McpToolboxError("invalid_client", "mcpToolbox takes a connected client of an MCP SDK, or a function that returns one.")
  const box = new ServerToolbox(source, checkOptions(options))
  try {
    await box.refresh()
  } catch (error) {
    await box.close()
    throw error
  }
  return box
}

/** What is offered now. */
interface Offer {
  readonly specs: readonly ToolSpec[]
  readonly tools: readonly McpTool[]
  readonly problems: readonly McpProblem[]
  readonly byName: ReadonlyMap<string, Entry>
}

interface Entry {
  readonly tool: McpTool
  readonly spec: ToolSpec
  readonly extra?: ExtraTool
}

const NOTHING: Offer = { specs: [], tools: [], problems: [], byName: new Map() }

/** For how many deadlines a server that left a list unanswered is not asked for it again. */
const UNANSWERED_REST = 5

/** How often a call is sent that may run twice. */
const MAX_SENT = 2

class ServerToolbox implements McpToolbox {
  readonly #options: CheckedOptions
  readonly #connection: Connection
  #offer: Offer = NOTHING
  /** The server may have other tools than those that were read. */
  #isStale = true
  #refreshing: Promise<void> | undefined
  /** The server left a list unanswered: until when it is not asked again, on the clock of `performance.now`. */
  #unanswered: { readonly until: number; readonly error: unknown } | undefined
  /** What tools did that are gone: a call of one may have begun. */
  readonly #past = new Map<string, ToolEffects>()

  constructor(source: McpClient | McpConnect, options: CheckedOptions) {
    this.#options = options
    this.#connection = new Connection(source, (client) => {
      // Another client may be that of another version of the server.
      this.#isStale = true
      this.#unanswered = undefined
      onListChanged(client, () => {
        this.#isStale = true
      })
    })
  }

  get specs(): readonly ToolSpec[] {
    return this.#offer.specs
  }

  get tools(): readonly McpTool[] {
    return this.#offer.tools
  }

  get problems(): readonly McpProblem[] {
    return this.#offer.problems
  }

  get server(): McpToolbox["server"] {
    return this.#connection.current?.getServerVersion()
  }

  readonly approvals: LiveToolbox["approvals"] = (call, facts) => answerOf(this.#options.approval, call, facts)

  readonly asks: LiveToolbox["asks"] = (toolName) => {
    const tool = this.#offer.byName.get(toolName)?.tool
    // A tool that is gone is not called.
    return tool !== undefined && mayAsk(this.#options.approval, tool.hints)
  }

  // Not known: a tool that is gone, whose call another process may have begun.
  readonly effects: LiveToolbox["effects"] = ({ toolName }) => this.#offer.byName.get(toolName)?.tool.effects ?? this.#past.get(toolName) ?? "once"

  readonly recover: LiveToolbox["recover"] = async () => undefined
  readonly resume: LiveToolbox["resume"] = async () => undefined
  readonly cancel: LiveToolbox["cancel"] = async () => undefined

  readonly owns: LiveToolbox["owns"] = ({ toolName }, tool) => {
    const { prefix } = this.#options
    if (prefix !== undefined) return hasPrefix(toolName, prefix)
    return this.#offer.byName.has(toolName) || this.#past.has(toolName) || (tool !== undefined && readHints(tool)?.server === "server")
  }

  readonly refresh: LiveToolbox["refresh"] = async (signal) => {
    if (!this.#isStale && this.#connection.isOpen) return
    // Otherwise each iteration and each call of a turn would wait for a list that does not come.
    if (this.#unanswered !== undefined && this.#connection.isOpen && performance.now() < this.#unanswered.until) throw this.#unanswered.error
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    await unlessAborted(this.#refreshing, signal)
  }

  readonly call: LiveToolbox["call"] = async (call, context) => {
    let lost: Trouble | undefined
    for (let sent = 1; ; sent += 1) {
      const answer = await this.#send(call, context)
      if (!("type" in answer)) return answer
      context.signal.throwIfAborted()
      const effects = this.effects(call)
      const mayRepeat = answer.type === "session_gone" || (answer.type === "lost" && effects !== "once")
      if (!mayRepeat || sent === MAX_SENT || !this.#connection.canReconnect) {
        // The second time was not sent, but the first was.
        const trouble = answer.type === "not_sent" && lost !== undefined ? lost : answer
        return failed(failureOf(trouble, call.toolName, effects, this.#options.timeoutMs))
      }
      if (answer.type === "lost") lost = answer
    }
  }

  readonly close = (): Promise<void> => this.#connection.close()

  async #refresh(): Promise<void> {
    const client = await this.#connection.open()
    // Before the list is read: it may change while it is.
    this.#isStale = false
    this.#unanswered = undefined
    const { prefix, resources, prompts, allow, limits, timeoutMs } = this.#options
    try {
      const features = featuresOf(client)
      const listed = features.tools ? await listTools(client, { prefix, allow, limits, timeoutMs }) : { tools: [], problems: [] }
      this.#take(listed, extraTools(features, { prefix, resources, prompts }))
    } catch (error) {
      this.#isStale = true
      const isUnanswered = error instanceof McpToolboxError && troubleOf(error.cause, false).type === "timeout"
      if (isUnanswered) this.#unanswered = { until: performance.now() + UNANSWERED_REST * timeoutMs, error }
      throw error
    }
  }

  #take(
    { tools, problems }: { readonly tools: readonly ListedTool[]; readonly problems: readonly McpProblem[] },
    extras: readonly ExtraTool[],
  ): void {
    for (const [name, { tool }] of this.#offer.byName) this.#past.set(name, tool.effects)
    const byName = new Map<string, Entry>()
    for (const extra of extras) {
      const { spec, hints } = extra
      byName.set(spec.name, { spec, extra, tool: { name: spec.name, shownName: spec.name, hints, effects: "none" } })
    }
    const left: McpProblem[] = []
    for (const { name, spec, hints } of tools) {
      if (byName.has(spec.name))
        left.push({ tool: name, code: "duplicate_name", message: `The name ${quoted(spec.name)} is that of a tool of the host.` })
      else byName.set(spec.name, { spec, tool: { name, shownName: spec.name, hints, effects: this.#effectsOf(name, hints) } })
    }
    const entries = [...byName.values()]
    const specs = entries.map(({ spec }) => spec)
    // The same list of the same tools is the same object, so that nothing that depends on it is made again.
    const isSame = canonicalJson(specs as unknown as Json) === canonicalJson(this.#offer.specs as unknown as Json)
    this.#offer = {
      specs: isSame ? this.#offer.specs : specs,
      tools: entries.map(({ tool }) => tool),
      problems: [...problems, ...left],
      byName,
    }
  }

  #effectsOf(name: string, hints: McpHints): ToolEffects {
    const { effects } = this.#options
    if (typeof effects !== "function") return effects === "hints" ? effectsOf(hints) : effects
    const found = effects({ name, hints })
    checkEffects(name, found)
    return found
  }

  /** Sends a call once. Returns its answer, or what went wrong. Rejects if the signal is aborted, or with a fatal error. */
  async #send(call: PendingToolCall, context: EffectContext): Promise<ToolAnswer | Trouble> {
    const { signal, isFatal } = context
    let client: McpClient | undefined
    try {
      const ready = await this.#ready(call, context)
      if (!("client" in ready)) return ready
      client = ready.client
      return answerOfResult(await this.#perform(ready.client, ready.entry, call, context))
    } catch (error) {
      if (isFatal?.(error) === true) throw error
      if (signal.aborted) throw error
      if (error instanceof ToolError) return failed(error.failure)
      const trouble = troubleOf(error, client !== undefined && this.#connection.isLost(client))
      if (client !== undefined && trouble.type === "session_gone") this.#connection.drop(client)
      return trouble
    }
  }

  /** The client and the tool for a call, or why it is not sent. */
  async #ready(call: PendingToolCall, { signal, turn }: EffectContext): Promise<{ readonly client: McpClient; readonly entry: Entry } | ToolAnswer> {
    const { toolName } = call
    try {
      await this.refresh(signal)
    } catch (error) {
      // As long as there is a connection, the tools that were read last count.
      if (signal.aborted || !this.#connection.isOpen) throw error
    }
    const client = await this.#connection.open(signal)
    const entry = this.#offer.byName.get(toolName)
    if (entry === undefined) return failed(this.#gone(toolName))
    // A person may have approved what the tool was, and the model has read that.
    const shown = turn?.tools.find(({ name }) => name === toolName)
    if (shown !== undefined && canonicalJson(shown as unknown as Json) !== canonicalJson(entry.spec as unknown as Json)) {
      const message =
        "The MCP server changed the tool after you were shown it, so the call did not run. Read its description again; if the call is still needed, make it again."
      return failed(invalidRequest("tool_changed", message))
    }
    return { client, entry }
  }

  #gone(toolName: string): ReturnType<typeof unknownTool> {
    const known = [...this.#offer.byName.keys()]
    if (!this.#past.has(toolName)) return unknownTool(toolName, known)
    const left = known.length === 0 ? "It has no tools now." : `Its tools are now: ${known.join(", ")}.`
    return invalidRequest("unknown_tool", `The MCP server no longer has the tool ${quoted(toolName)}. ${left}`)
  }

  async #perform(client: McpClient, { tool, spec, extra }: Entry, call: PendingToolCall, context: EffectContext): Promise<ReadResult> {
    const { timeoutMs, attachments, limits, meta } = this.#options
    const { callId, toolName, args } = call
    const reading = { attachments, maxChars: limits.resultChars }
    const options: RequestOptions = {
      signal: context.signal,
      timeoutMs,
      onProgress: progressOf((progress) => context.emit({ ...progress, type: "tool_progress", callId, name: toolName })),
    }
    const own = (typeof args === "object" && args !== null && !Array.isArray(args) ? args : {}) as { readonly [key: string]: Json }
    if (extra !== undefined) return extra.run(client, own, options, reading)
    const given = meta?.({ name: tool.name, idempotencyKey: context.idempotencyKey })
    const params = { name: tool.name, arguments: own, ...(given !== undefined && { _meta: given }) }
    return readCallResult(await callTool(client, params, spec.inputSchema as object, options), reading)
  }
}

/** The answer of a call whose result was read. */
function answerOfResult({ isError, value, parts, modelReturn }: ReadResult): ToolAnswer {
  if (!isError) return { output: { status: "success", value }, ...(modelReturn !== undefined && { modelReturn }) }
  const message = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n")
  const attachments = parts.flatMap((part) => (part.type === "attachment" ? [{ $attachment: part.attachment }] : []))
  return failed({
    class: "execution",
    code: "mcp_tool_error",
    message: message === "" ? "The tool failed and does not say why." : message,
    source: "tool",
    retry: { type: "never" },
    ...(attachments.length > 0 && { raw: attachments }),
  })
}
