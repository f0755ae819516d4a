import { type ChildProcess, spawn } from "node:child_process"
import {
  type AgentApp,
  type ClientCapabilities,
  type ClientConnection,
  type ClientContext,
  client,
  methods,
  PROTOCOL_VERSION,
  RequestError,
  type RequestPermissionRequest,
  type SessionUpdate,
  type Stream,
  type ToolCallUpdate,
} from "@agentclientprotocol/sdk"

export interface EditorOptions {
  /** Texts that are not saved, by their absolute path. Given: the editor offers to read and write files. */
  readonly files?: Map<string, string>
  /** Whether it offers terminals. */
  readonly hasTerminals?: boolean
  readonly onUpdate?: (update: SessionUpdate, sessionId: string) => void
  /** Answers with the id of an option. `cancelled`: the turn is cancelled. Default: allows once. */
  readonly onPermission?: (request: RequestPermissionRequest, signal: AbortSignal) => string | Promise<string>
}

/** A small editor: what the tests and the demo use as the client of the agent. */
export class Editor {
  readonly updates: SessionUpdate[] = []
  readonly questions: RequestPermissionRequest[] = []
  readonly agent: ClientContext
  readonly connection: ClientConnection
  readonly #waiting = new Set<() => void>()

  constructor(target: Stream | AgentApp, { files, hasTerminals = false, onUpdate, onPermission = () => "allow_once" }: EditorOptions = {}) {
    const terminals = new Map<string, { readonly child: ChildProcess; output: string; readonly ended: Promise<number | null> }>()
    const terminalOf = (id: string) => {
      const terminal = terminals.get(id)
      if (terminal === undefined) throw RequestError.resourceNotFound(id)
      return terminal
    }
    const app = client({ name: "small-editor" })
      .onNotification(methods.client.session.update, ({ params }) => {
        this.updates.push(params.update)
        onUpdate?.(params.update, params.sessionId)
        for (const check of this.#waiting) check()
      })
      .onRequest(methods.client.session.requestPermission, async ({ params, signal }) => {
        this.questions.push(params)
        for (const check of this.#waiting) check()
        const optionId = await onPermission(params, signal)
        return { outcome: optionId === "cancelled" ? { outcome: "cancelled" } : { outcome: "selected", optionId } }
      })
      .onRequest(methods.client.fs.readTextFile, ({ params: { path } }) => {
        const content = files?.get(path)
        if (content === undefined) throw RequestError.resourceNotFound(path)
        return { content }
      })
      .onRequest(methods.client.fs.writeTextFile, ({ params: { path, content } }) => {
        files?.set(path, content)
        return {}
      })
      .onRequest(methods.client.terminal.create, ({ params: { command, args = [], cwd } }) => {
        const child = spawn(command, args, { cwd: cwd ?? undefined, stdio: ["ignore", "pipe", "pipe"] })
        const terminal = { child, output: "", ended: new Promise<number | null>((resolve) => child.on("close", resolve)) }
        for (const stream of [child.stdout, child.stderr])
          stream.setEncoding("utf8").on("data", (text: string) => {
            terminal.output += text
          })
        const terminalId = `terminal-${terminals.size + 1}`
        terminals.set(terminalId, terminal)
        return { terminalId }
      })
      .onRequest(methods.client.terminal.output, ({ params }) => ({ output: terminalOf(params.terminalId).output, truncated: false }))
      .onRequest(methods.client.terminal.waitForExit, async ({ params }) => ({ exitCode: await terminalOf(params.terminalId).ended }))
      .onRequest(methods.client.terminal.kill, ({ params }) => {
        terminalOf(params.terminalId).child.kill("SIGKILL")
        return {}
      })
      .onRequest(methods.client.terminal.release, ({ params }) => {
        terminalOf(params.terminalId).child.kill("SIGKILL")
        return {}
      })
    this.connection = "connectWith" in target ? app.connect(target) : app.connect(target)
    this.agent = this.connection.agent
    this.#capabilities = {
      terminal: hasTerminals,
      ...(files !== undefined && { fs: { readTextFile: true, writeTextFile: true } }),
    }
  }

  readonly #capabilities: ClientCapabilities

  initialize() {
    return this.agent.request(methods.agent.initialize, { protocolVersion: PROTOCOL_VERSION, clientCapabilities: this.#capabilities })
  }

  prompt(sessionId: string, text: string) {
    return this.agent.request(methods.agent.session.prompt, { sessionId, prompt: [{ type: "text", text }] })
  }

  /** Resolves when the updates and the questions so far are as needed. */
  until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        if (!isSo()) return
        this.#waiting.delete(check)
        resolve()
      }
      this.#waiting.add(check)
      void this.connection.closed.then(() => reject(new Error("The connection was closed first.")))
      check()
    })
  }

  /** What the agent said, or the user, as one text. */
  text(kind: "agent_message_chunk" | "agent_thought_chunk" | "user_message_chunk" = "agent_message_chunk"): string {
    return this.updates.map((update) => (update.sessionUpdate === kind && update.content.type === "text" ? update.content.text : "")).join("")
  }

  /** The tool calls as they are shown now: each with all its updates. */
  calls(): readonly ToolCallUpdate[] {
    const calls = new Map<string, ToolCallUpdate>()
    for (const { sessionUpdate, ...call } of this.updates.flatMap((update) =>
      update.sessionUpdate === "tool_call" || update.sessionUpdate === "tool_call_update" ? [update] : [],
    ))
      calls.set(call.toolCallId, { ...calls.get(call.toolCallId), ...call })
    return [...calls.values()]
  }
}
