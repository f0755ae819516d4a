import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, onTestFinished, test } from "vitest"
import { type ChatMessage, type Rule, refusalOf } from "./strict-rules.ts"
import { type Script, type StrictServer, type StrictServerOptions, startStrictServer } from "./strict-server.ts"

const says = (role: string, content: unknown = "x"): ChatMessage => ({ role, content })
const calls = (id: string, name = "look", args = "{}"): ChatMessage => ({
  role: "assistant",
  content: null,
  tool_calls: [{ id, type: "function", function: { name, arguments: args } }],
})
const result = (id: string): ChatMessage => ({ role: "tool", tool_call_id: id, content: "r" })
const tool = (name: string): object => ({ type: "function", function: { name, parameters: { type: "object" } } })

describe("the rules of every provider", () => {
  test.each<[string, readonly ChatMessage[]]>([
    ["unknown role", [says("robot"), says("user")]],
    ["content of a user message must not be empty", [says("user", "")]],
    ["an assistant message needs content", [says("user"), says("assistant", null), says("user")]],
    ["answers no call", [says("user"), result("c1")]],
    ["answers no call", [says("user"), calls("c1"), result("c1"), result("c1")]],
    ["c1 has no result", [says("user"), calls("c1"), says("user")]],
    ["c1 has no result", [says("user"), calls("c1"), says("user"), result("c1")]],
    ["Expected last role User or Tool", [says("user"), says("assistant")]],
    ["Invalid tool name", [says("user"), calls("c1", "look here"), result("c1")]],
    ["not a JSON object", [says("user"), calls("c1", "look", '{"a":'), result("c1")]],
    ["not a JSON object", [says("user"), calls("c1", "look", "[]"), result("c1")]],
  ])("refuse: %s", (reason, messages) => expect(refusalOf(messages, [], [])).toContain(reason))

  test("accept a conversation with calls, steering and two messages of a user in a row", () => {
    const messages = [says("system"), says("user"), calls("c1"), result("c1"), says("user"), says("assistant"), says("user"), says("user")]
    expect(refusalOf(messages, [], [])).toBeUndefined()
  })
})

describe("the rules of some providers", () => {
  test.each<[Rule, string, readonly ChatMessage[]]>([
    ["user_before_calls", "immediately after a user turn", [says("user"), says("assistant"), calls("c1"), result("c1")]],
    ["user_before_calls", "not after nothing", [calls("c1"), result("c1")]],
    ["no_user_after_tool", "Unexpected role 'user' after role 'tool'", [says("user"), calls("c1"), result("c1"), says("user")]],
    ["alternate", "must alternate", [says("user"), says("user")]],
    ["alternate", "must alternate", [says("user"), calls("c1"), result("c1"), says("user")]],
    ["offered_tools", "not among the tools", [says("user"), calls("c1"), result("c1")]],
    ["system_only_first", "at the beginning", [says("user"), says("system"), says("user")]],
  ])("%s refuses: %s", (rule, reason, messages) => {
    expect(refusalOf(messages, [], [rule])).toContain(reason)
    expect(refusalOf(messages, [], [])).toBeUndefined()
  })

  test("all of them accept a conversation that follows them", () => {
    const messages = [says("system"), says("user"), calls("c1"), result("c1"), calls("c2"), result("c2"), says("assistant"), says("user")]
    const rules: Rule[] = ["user_before_calls", "no_user_after_tool", "alternate", "offered_tools", "system_only_first"]
    expect(refusalOf(messages, [{ type: "function", function: { name: "look" } }], rules)).toBeUndefined()
  })
})

interface Reply {
  readonly status: number
  readonly text: string
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly prompt_tokens_details: object }
}

describe("the server", () => {
  const started = async (script: Parameters<typeof startStrictServer>[0], options?: StrictServerOptions): Promise<StrictServer> => {
    const server = await startStrictServer(script, options)
    onTestFinished(() => server.close())
    return server
  }
  const post = async ({ url }: { readonly url: string }, messages: readonly ChatMessage[], more: object = {}): Promise<Reply> => {
    const response = await fetch(`${url}/chat/completions`, { method: "POST", body: JSON.stringify({ model: "m", messages, ...more }) })
    const text = await response.text()
    const usage = response.headers.get("content-type") === "application/json" ? (JSON.parse(text) as Reply).usage : undefined
    return { status: response.status, text, ...(usage && { usage }) }
  }

  test("refuses with 400 and the reason, which costs nothing", async () => {
    const server = await started(() => "Fine.", { rules: ["alternate"] })
    expect(await post(server, [says("user"), says("user")])).toMatchObject({ status: 400, text: expect.stringContaining("must alternate") })
    expect(await post(server, [says("user")])).toMatchObject({ status: 200, text: expect.stringContaining("Fine.") })
    expect(server.requests.map(({ refusal }) => refusal?.slice(-9))).toEqual(["stant/...", undefined])
    expect(server.bill).toMatchObject({ calls: 1, refused: 1 })
  })

  test("counts the common prefix with earlier requests as cached, in blocks of 128 tokens", async () => {
    const server = await started(["A.", "B."])
    const long = [says("system", "s".repeat(2_000)), says("user", "u".repeat(2_000))]
    const first = await post(server, long)
    expect(first.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 0 } })
    const more = await post(server, [...long, says("assistant"), says("user", "y".repeat(600))])
    const prompt = Math.floor((first.usage?.prompt_tokens ?? 0) / 128) * 128
    expect(more.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: prompt } })
    const changed = await post(server, [says("system", `S${"s".repeat(1_999)}`), ...long.slice(1)])
    expect(changed.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 0 } })
    const otherTools = await post(server, long, { tools: [tool("look")] })
    expect(otherTools.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 0 } })
    const { cachedTokens, fullPriceTokens, outputTokens, promptTokens } = server.bill
    expect(cachedTokens).toBe(prompt)
    expect(fullPriceTokens).toBe(promptTokens - cachedTokens + outputTokens)
  })

  test("counts whole messages, or nothing, if so configured", async () => {
    const cachedIn = async (cache: "messages" | "off"): Promise<number> => {
      const server = await started(["A."], { cache })
      await post(server, [says("user", "one")])
      await post(server, [says("user", "one"), says("user", "two")])
      return server.bill.cachedTokens
    }
    expect(await cachedIn("messages")).toBe(Math.floor(`[]\n${JSON.stringify(says("user", "one"))}\n`.length / 4))
    expect(await cachedIn("off")).toBe(0)
  })

  test("streams texts, calls and the usage", async () => {
    const server = await started([{ text: "A text of more than one chunk.", reasoning: "Hm.", calls: [{ name: "look", args: '{"a":' }] }])
    const { text } = await post(server, [says("user")], { stream: true, stream_options: { include_usage: true } })
    const chunks = text.split("\n\n").filter((line) => line.startsWith("data: {"))
    const deltas = chunks.map((line) => JSON.parse(line.slice(6)) as { choices: { delta: { content?: string } }[]; usage?: object })
    expect(deltas.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("A text of more than one chunk.")
    expect(text).toContain('"arguments":"{\\"a\\":"')
    expect(text).toContain('"finish_reason":"tool_calls"')
    expect(deltas.at(-1)?.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 0 } })
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true)
  })

  test("reports no usage, and charges all the same", async () => {
    const server = await started(["A."], { noUsage: true })
    expect((await post(server, [says("user")])).usage).toBeUndefined()
    expect((await post(server, [says("user")], { stream: true, stream_options: { include_usage: true } })).text).not.toContain("usage")
    expect(server.bill.promptTokens).toBeGreaterThan(0)
  })

  test("charges for failures only where they are billed", async () => {
    const server = await started([{ status: 500 }, { status: 429, billed: true, retryAfter: 7, code: "slow_down" }])
    expect(await post(server, [says("user")])).not.toHaveProperty("usage")
    expect(server.bill).toMatchObject({ calls: 1, promptTokens: 0 })
    const failed = await post(server, [says("user")])
    expect(failed).toMatchObject({ status: 429, text: expect.stringContaining("slow_down"), usage: { completion_tokens: 0 } })
    expect(server.bill.promptTokens).toBe(failed.usage?.prompt_tokens)
  })

  test("breaks a stream after some text, and charges for it", async () => {
    const server = await started([{ text: "0123456789", cutAfter: 4 }])
    const response = await fetch(`${server.url}/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "m", messages: [says("user")], stream: true }),
    })
    let text = ""
    const read = async (): Promise<void> => {
      for await (const part of response.body ?? []) text += new TextDecoder().decode(part)
    }
    await expect(read()).rejects.toThrow()
    expect(text).toContain('"content":"0123"')
    expect(server.bill.outputTokens).toBe(1)
  })

  test("is slow where its script says so, and passes the requests to its script", async () => {
    const seen: number[] = []
    const script: Script = (request, number) => {
      seen.push(request.messages.length * 10 + number)
      return { text: "Slow.", firstByteMs: 30, betweenMs: 5 }
    }
    const server = await started(script)
    const before = performance.now()
    await post(server, [says("user")], { stream: true })
    expect(performance.now() - before).toBeGreaterThan(30)
    expect(seen).toEqual([11])
  })

  test("runs as a process of its own", async () => {
    const folder = mkdtempSync(join(tmpdir(), "strict-server-"))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const script = join(folder, "script.mjs")
    writeFileSync(script, "export default () => 'From the script.'\n")
    const main = fileURLToPath(new URL("strict-server-process.ts", import.meta.url))
    const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), main, script, '{"noUsage":true}'])
    onTestFinished(() => void child.kill("SIGKILL"))
    const url = await new Promise<string>((resolve) => child.stdout.once("data", (data: Buffer) => resolve(data.toString().trim())))
    expect((await post({ url }, [says("user")])).text).toContain("From the script.")
    const record = (await (await fetch(url)).json()) as { requests: unknown[]; bill: object }
    expect(record).toMatchObject({ bill: { calls: 1 } })
    expect(record.requests).toHaveLength(1)
  })
})
