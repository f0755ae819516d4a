import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { methods } from "@agentclientprotocol/sdk"
import { createACPProvider } from "@mcpc-tech/acp-ai-provider"
import { streamText } from "ai"
import { afterEach, describe, expect, test, vi } from "vitest"
import { Editor, type EditorOptions } from "./editor.ts"
import { AGENT, type AgentProcess, startAgent } from "./processes.ts"

vi.setConfig({ testTimeout: 180_000 })

const ends: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})

function folder(): string {
  const made = realpathSync(mkdtempSync(join(tmpdir(), "acp-agent-")))
  ends.push(() => rmSync(made, { recursive: true, force: true, maxRetries: 5 }))
  return made
}

/** The keys of the environment are not used. */
function environment(state: string, wordMs = 1): NodeJS.ProcessEnv {
  const none = { ANTHROPIC_API_KEY: undefined, OPENAI_API_KEY: undefined, GEMINI_API_KEY: undefined, MODEL_BASE_URL: undefined }
  return { ...none, ACP_AGENT_STATE: state, WORD_MS: String(wordMs) }
}

/** A folder, and agents that are started in it one after another. */
class Place {
  readonly cwd = folder()
  readonly state = folder()
  readonly #wordMs: number

  constructor(wordMs = 1) {
    this.#wordMs = wordMs
  }

  start(): AgentProcess {
    const agent = startAgent(environment(this.state, this.#wordMs))
    ends.push(() => agent.kill())
    return agent
  }

  async connect(options: EditorOptions = {}) {
    const agent = this.start()
    const editor = new Editor(agent.stream, options)
    await editor.initialize()
    return { agent, editor }
  }

  async begin(options: EditorOptions = {}) {
    const { agent, editor } = await this.connect(options)
    const { sessionId } = await editor.agent.request(methods.agent.session.new, { cwd: this.cwd, mcpServers: [] })
    return { agent, editor, sessionId }
  }

  /** Another process that loads the session. */
  async load(sessionId: string, options: EditorOptions = {}) {
    const { agent, editor } = await this.connect(options)
    await editor.agent.request(methods.agent.session.load, { sessionId, cwd: this.cwd, mcpServers: [] })
    return { agent, editor }
  }

  read(name: string): string {
    return readFileSync(join(this.cwd, name), "utf8")
  }
}

describe("over stdio", () => {
  test("a turn with a question, then the end of the input: the process ends, and its log has the output of nothing else", async () => {
    const place = new Place()
    const { agent, editor, sessionId } = await place.begin()
    expect(await editor.prompt(sessionId, "write a.txt: hello")).toEqual({ stopReason: "end_turn" })
    expect(place.read("a.txt")).toBe("hello")
    agent.child.stdin?.end()
    expect(await agent.ended).toBe(0)
    expect(agent.log()).toBe("The model is scripted.\n")
  })

  test("SIGTERM during a turn: the process ends, and the next one continues the turn", async () => {
    const place = new Place()
    const { agent, editor, sessionId } = await place.begin({ onPermission: () => new Promise(() => {}) })
    editor.prompt(sessionId, "write a.txt: hello").catch(() => {})
    await editor.until(() => editor.questions.length === 1)
    agent.child.kill("SIGTERM")
    expect(await agent.ended).toBe(0)
    const next = await place.load(sessionId)
    await next.editor.until(() => next.editor.text().includes("The tools say"))
    expect(place.read("a.txt")).toBe("hello")
  })
})

describe("an agent that is killed (SIGKILL)", () => {
  test("while the model answers: the next one answers", async () => {
    const place = new Place(20)
    const { agent, editor, sessionId } = await place.begin()
    editor.prompt(sessionId, "count to 50").catch(() => {})
    await editor.until(() => editor.text().includes("5 "))
    await agent.kill()
    const next = await place.load(sessionId)
    expect(next.editor.text("user_message_chunk")).toBe("count to 50")
    await next.editor.until(() => next.editor.text().endsWith(" 50"))
    expect(next.editor.text()).toMatch(/^1 2 3 .* 50$/)
    expect(next.editor.text().match(/ 25 /g)).toHaveLength(1)
  })

  test("while the editor is asked: the next one asks again, and the call runs once", async () => {
    const place = new Place()
    const { agent, editor, sessionId } = await place.begin({ onPermission: () => new Promise(() => {}) })
    editor.prompt(sessionId, "run echo ran >> log.txt").catch(() => {})
    await editor.until(() => editor.questions.length === 1)
    await agent.kill()
    const next = await place.load(sessionId)
    await next.editor.until(() => next.editor.text().includes("The tools say"))
    expect(next.editor.questions).toMatchObject([{ toolCall: { toolCallId: "call-1" } }])
    expect(next.editor.calls()).toMatchObject([{ toolCallId: "call-1", status: "completed" }])
    expect(place.read("log.txt")).toBe("ran\n")
    // What another process continued belongs to the session as all else.
    expect(await next.editor.prompt(sessionId, "Hello")).toEqual({ stopReason: "end_turn" })
  })

  test("while a command runs: it does not run again, and the model reads that it may have run", async () => {
    const place = new Place()
    const { agent, editor, sessionId } = await place.begin()
    editor.prompt(sessionId, "run echo ran >> log.txt; sleep 1000000").catch(() => {})
    await vi.waitFor(() => expect(place.read("log.txt")).toBe("ran\n"), { timeout: 60_000 })
    await agent.kill()
    const next = await place.load(sessionId)
    await next.editor.until(() => next.editor.text().includes("The tools say"))
    expect(next.editor.calls()).toMatchObject([{ status: "failed", rawOutput: { failure: { code: "outcome_unknown" } } }])
    expect(place.read("log.txt")).toBe("ran\n")
  })

  test("with a question, and the next prompt comes at once: the turn receives it", async () => {
    const place = new Place()
    const { agent, editor, sessionId } = await place.begin({ onPermission: () => new Promise(() => {}) })
    editor.prompt(sessionId, "write a.txt: hello").catch(() => {})
    await editor.until(() => editor.questions.length === 1)
    await agent.kill()
    const next = await place.load(sessionId)
    expect(await next.editor.prompt(sessionId, "I am back")).toEqual({ stopReason: "end_turn" })
    expect(place.read("a.txt")).toBe("hello")
    expect(next.editor.text()).toContain("You said: I am back")
  })
})

describe("a client that does not follow the protocol", () => {
  /** An agent that speaks in lines: `write` sends some, `answer` resolves with its next message to a request. */
  function speak() {
    const agent = new Place().start()
    const reader = agent.stream.readable.getReader()
    return {
      write: (...lines: readonly string[]) => agent.child.stdin?.write(lines.map((line) => `${line}\n`).join("")),
      async answer(id: number | null): Promise<unknown> {
        for (;;) {
          const { value, done } = await reader.read()
          if (done) throw new Error(`The agent ended: ${agent.log()}`)
          if ("id" in value && value.id === id && !("method" in value)) return value
        }
      },
    }
  }
  const initialize = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: 1 } })
  const request = (method: string, params: unknown) => JSON.stringify({ jsonrpc: "2.0", id: 2, method, params })

  test.each([
    ["no JSON", "hello", null, -32700],
    ["a batch", "[]", null, -32600],
    ["a session before initialize", request("session/new", { cwd: "/", mcpServers: [] }), 2, -32600],
  ])("%s", async (_, line, id, code) => {
    const { write, answer } = speak()
    write(line)
    expect(await answer(id)).toMatchObject({ error: { code } })
  })

  test.each([
    ["an unknown method", "session/explode", {}, -32601],
    ["params of a wrong type", "session/prompt", { sessionId: 7, prompt: "hello" }, -32602],
    ["no params", "session/new", undefined, -32602],
    ["an unknown session", "session/prompt", { sessionId: "none", prompt: [{ type: "text", text: "a" }] }, -32002],
    ["a prototype as a session", "session/prompt", { sessionId: "__proto__", prompt: [{ type: "text", text: "a" }] }, -32002],
    ["a folder that is a file", "session/new", { cwd: process.execPath, mcpServers: [] }, -32602],
  ])("%s", async (_, method, params, code) => {
    const noise = [
      "{",
      '{"jsonrpc":"2.0","id":99,"result":{}}',
      '{"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":null}}',
      "\u2028",
      "x".repeat(1_000_000),
    ]
    const { write, answer } = speak()
    write(...noise, initialize)
    expect(await answer(1)).toMatchObject({ result: { protocolVersion: 1 } })
    write(...noise, request(method, params))
    expect(await answer(2)).toMatchObject({ error: { code, message: expect.any(String) } })
  })
})

test("the AI SDK speaks with the agent through its provider for ACP", async () => {
  const place = new Place()
  const [command, ...args] = AGENT
  const provider = createACPProvider({
    command,
    args,
    env: Object.fromEntries(Object.entries({ ...process.env, ...environment(place.state) }).filter(([, value]) => value !== undefined)) as Record<
      string,
      string
    >,
    session: { cwd: place.cwd, mcpServers: [] },
  })
  ends.push(() => provider.cleanup())
  const { textStream } = streamText({ model: provider.languageModel(), prompt: "count to 5" })
  let text = ""
  for await (const piece of textStream) text += piece
  expect(text).toBe("1 2 3 4 5")
  expect(existsSync(join(place.state, "sessions"))).toBe(true)
})
