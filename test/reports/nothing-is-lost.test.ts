import { expect, test } from "vitest"
import type { Host, HostTools } from "../../src/hosts/host.ts"
import { memoryJournalStore, openAiCompatible, runTurn } from "../../src/hosts/index.ts"
import { journaled } from "../../src/hosts/journal/index.ts"
import { TurnMachine } from "../../src/index.ts"
import { call, calls, chatServer, chunk, configOf, finishedWith, type Rule, says, toolsOf, turnWith, userSays } from "./support.ts"

// https://github.com/NousResearch/hermes-agent/issues/52854
test("what the user saw before a cancel is in the transcript, and the next turn knows it", async () => {
  const server = await chatServer([
    { events: [chunk({ content: "First close the red valve. " }), 50, chunk({ content: "Then the blue" }), 3_000], staysOpen: true },
    says("Then the blue one."),
  ])
  const stop = new AbortController()
  const first = await turnWith(server, {
    run: { signal: stop.signal, onEvent: (event) => void (event.type === "text_delta" && event.content.includes("blue") && stop.abort("stop")) },
  })
  expect(first.outcome).toMatchObject({ stop: { type: "cancelled" } })
  expect(first.messages.at(-1)).toMatchObject({
    role: "assistant",
    parts: [
      { type: "text", text: "First close the red valve. Then the blue" },
      { type: "interrupted", reason: "cancelled" },
    ],
  })
  const second = await turnWith(server, { messages: [...first.messages, userSays("And then?", "u2")] })
  expect(second.outcome).toEqual(finishedWith("Then the blue one."))
  expect(JSON.stringify(second.sent)).toContain("First close the red valve. Then the blue")
})

// https://github.com/openai/openai-agents-python/issues/3004
test("of two parallel calls the finished one does not run again when the process ends while the other waits for a person", async () => {
  const server = await chatServer([calls(call("wipe"), call("check")), says("Done.")])
  const model = openAiCompatible({ baseUrl: server.url })
  const config = configOf(["wipe", "check"])
  const ran: string[] = []
  let saved = ""
  let bothStarted = (): void => {}
  const started = new Promise<void>((resolve) => {
    bothStarted = resolve
  })
  const waits: Host = {
    ...model,
    tools: toolsOf(({ toolName }) => {
      ran.push(`first ${toolName}`)
      return toolName === "wipe" ? new Promise<never>(() => {}) : "checked"
    }),
    save: (machine) => {
      saved = JSON.stringify(machine.checkpoint())
      if (saved.includes("checked")) bothStarted()
    },
  }
  void runTurn(new TurnMachine(config, { messages: [userSays("Go.")] }), waits)
  await started
  const agreed = toolsOf(({ toolName }) => {
    ran.push(`second ${toolName}`)
    return "wiped"
  })
  const done = await runTurn(TurnMachine.restore(config, saved), { ...model, tools: agreed })
  expect(done.outcome).toEqual(finishedWith("Done."))
  expect(ran).toEqual(["first wipe", "first check", "second wipe"])
  expect(server.bodies[1]?.messages.flatMap((message) => (message.role === "tool" ? [message.content] : []))).toEqual(["wiped", "checked"])
})

// https://github.com/cloudflare/agents/issues/1623
test("a batch of calls survives that the process ends in each of them", async () => {
  const names = ["a", "b", "c"]
  const server = await chatServer([calls(...names.map((name) => call(name))), says("Done.")])
  const store = memoryJournalStore()
  const turn = { turnId: "t", config: configOf(names), start: { messages: [userSays("Go.")] } }
  const ran: string[] = []
  for (const diesIn of ["b", "c", ""]) {
    let died = (): void => {}
    const dead = new Promise<void>((resolve) => {
      died = resolve
    })
    const tools: HostTools = toolsOf(({ toolName }) => {
      ran.push(toolName)
      if (toolName !== diesIn) return toolName
      died()
      return new Promise<never>(() => {})
    })
    const running = journaled({ ...openAiCompatible({ baseUrl: server.url }), tools }, store, { takeOver: true }).run("t", turn, {
      toolConcurrency: 1,
    })
    if (diesIn !== "") {
      await dead
      continue
    }
    expect((await running).outcome).toEqual(finishedWith("Done."))
  }
  expect(ran).toEqual(["a", "b", "b", "c", "c"])
  expect(server.bodies).toHaveLength(2)
  expect(server.bodies[1]?.messages.flatMap((message) => (message.role === "tool" ? [message.content] : []))).toEqual(names)
})

// https://github.com/openai/codex/issues/24732
test("a result that fills the context window is cut, and the thread goes on", async () => {
  const tooLong: Rule = (_, raw) => (raw.length > 100_000 ? "maximum context length exceeded" : undefined)
  const server = await chatServer([calls(call("dump")), says("Done."), says("Gladly.")], tooLong)
  const options = { tools: ["dump"], execute: () => "x".repeat(2_000_000), config: { maxContextTokens: 32_000 } }
  const first = await turnWith(server, options)
  expect(first.outcome).toEqual(finishedWith("Done."))
  const second = await turnWith(server, { ...options, messages: [...first.messages, userSays("Go on.", "u2")] })
  expect(second.outcome).toEqual(finishedWith("Gladly."))
  expect(server.refused).toEqual([])
})
