import { describe, expect, test } from "vitest"
import { pairToolCalls } from "../../src/drivers/tool-pairs.ts"
import { History } from "../../src/machine/history.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { Message, Part } from "../../src/schemas/message.ts"
import { configOf, plain } from "../machine/support.ts"

const NO_RESULT = "[No result: the call was interrupted before it ended.]"

let made = 0
function message(role: Message["role"], ...parts: readonly Part[]): Message {
  made += 1
  return { id: `m${made}`, role, parts }
}
const text = (content: string): Part => ({ id: "p", type: "text", text: content })
const call = (callId: string): Part => ({ id: "p", type: "tool_call", callId, toolName: "look", inputJson: "{}" })
const result = (callId: string, content = `result ${callId}`): Part => ({ id: "p", type: "tool_result", callId, toolName: "look", text: content })

function project(transcript: History<Message>): LlmRequest {
  const { systemPrompt, tools } = configOf()
  return chatProjector({
    config: configOf(),
    systemPrompt,
    tools,
    messages: transcript,
    events: History.of([]),
    turnCauses: [],
    iteration: 0,
    useTools: true,
  })
}

/** One line per message of the request that would be sent, each block in short. */
function sent(...messages: readonly Message[]): readonly string[] {
  return shown(History.of(messages))
}

function shown(transcript: History<Message>): readonly string[] {
  const request = plain(pairToolCalls(project(transcript), transcript))
  return request.messages.map(({ role, blocks }) => {
    const inShort = blocks.map((block) => {
      if (block.type === "tool_call") return `call ${block.callId}`
      if (block.type === "tool_result") return `result ${block.callId}: ${block.text}`
      return block.type === "text" ? block.text : block.type
    })
    return `${role}: ${inShort.join(" | ")}`
  })
}

describe("a transcript in which each call has its result right behind it", () => {
  test("is sent as the projector made it, the very same request", () => {
    const transcript = History.of([
      message("user", text("hi")),
      message("assistant", text("ok"), call("a"), call("b")),
      message("user", result("b"), result("a"), { id: "p", type: "image", text: "x" }),
      message("assistant", call("c")),
      message("user", result("c"), text("and this")),
      message("assistant", text("done")),
    ])
    const request = project(transcript)
    expect(pairToolCalls(request, transcript)).toBe(request)
  })

  test("call ids may come again in a later message: some models number them anew each time", () => {
    const transcript = History.of([
      message("assistant", call("call_0")),
      message("user", result("call_0")),
      message("assistant", call("call_0")),
      message("user", result("call_0")),
    ])
    const request = project(transcript)
    expect(pairToolCalls(request, transcript)).toBe(request)
  })
})

describe("a call without a result", () => {
  test("at the very end gets a stated one", () => {
    expect(sent(message("user", text("hi")), message("assistant", call("a"), call("b")))).toEqual([
      "user: hi",
      "assistant: call a | call b",
      `user: result a: ${NO_RESULT} | result b: ${NO_RESULT}`,
    ])
  })

  test("in the middle, too, before what came next", () => {
    expect(sent(message("assistant", call("a")), message("user", text("never mind")), message("assistant", text("fine")))).toEqual([
      "assistant: call a",
      `user: result a: ${NO_RESULT}`,
      "user: never mind",
      "assistant: fine",
    ])
  })

  test("of two, the finished one keeps its result", () => {
    expect(sent(message("assistant", call("a"), call("b")), message("user", result("b")))).toEqual([
      "assistant: call a | call b",
      `user: result a: ${NO_RESULT} | result b: result b`,
    ])
  })

  test("the stated result carries the tool's name", () => {
    const transcript = History.of([message("assistant", call("a"))])
    expect(plain(pairToolCalls(project(transcript), transcript)).messages[1]).toEqual({
      role: "user",
      blocks: [{ type: "tool_result", callId: "a", toolName: "look", text: NO_RESULT }],
    })
  })

  test("a call that is not the assistant's is none, and is left out", () => {
    expect(sent(message("user", text("look: "), call("a")), message("system", call("b")))).toEqual(["user: look: "])
  })
})

describe("a result away from its call", () => {
  test("moves behind it", () => {
    expect(sent(message("assistant", call("a")), message("system", text("by the way")), message("user", result("a")))).toEqual([
      "assistant: call a",
      "user: result a: result a",
      "system: Runtime note:\nby the way",
    ])
  })

  test("leaves what stood with it in its place", () => {
    expect(sent(message("assistant", call("a")), message("user", text("first")), message("user", result("a"), text("second")))).toEqual([
      "assistant: call a",
      "user: result a: result a",
      "user: first",
      "user: second",
    ])
  })

  test("under another role than the user's it moves as well", () => {
    expect(sent(message("assistant", call("a")), message("assistant", result("a"), text("mine")))).toEqual([
      "assistant: call a",
      "user: result a: result a",
      "assistant: mine",
    ])
  })

  test("in the call's own message, or before it, it is no result of it", () => {
    expect(sent(message("user", result("a", "early")), message("assistant", call("a"), result("a", "same")))).toEqual([
      "user: [Result of an earlier tool call]\nearly",
      "assistant: call a | [Result of an earlier tool call]\nsame",
      `user: result a: ${NO_RESULT}`,
    ])
  })
})

describe("a result without a call", () => {
  test("becomes a text, so that what it said is not lost", () => {
    expect(sent(message("user", text("hi"), result("gone")))).toEqual(["user: hi | [Result of an earlier tool call]\nresult gone"])
  })

  test("the second of two for one call, likewise", () => {
    expect(sent(message("assistant", call("a")), message("user", result("a", "one"), result("a", "two")))).toEqual([
      "assistant: call a",
      "user: result a: one",
      "user: [Result of an earlier tool call]\ntwo",
    ])
  })

  test("two calls under one id take two results: in one message in order, of two messages the later one first", () => {
    const results = message("user", result("a", "one"), result("a", "two"))
    expect(sent(message("assistant", call("a"), call("a")), message("user", text("wait")), results)).toEqual([
      "assistant: call a | call a",
      "user: result a: one | result a: two",
      "user: wait",
    ])
    expect(sent(message("assistant", call("a")), message("assistant", call("a")), results)).toEqual([
      "assistant: call a",
      "user: result a: two",
      "assistant: call a",
      "user: result a: one",
    ])
  })
})

describe("call ids that models number anew in each message", () => {
  const interrupted = [message("assistant", call("a")), message("user", text("stop")), message("user", text("go on"))]

  test("a call that was interrupted does not take the result of a later call under its id", () => {
    expect(sent(...interrupted, message("assistant", call("a")), message("user", result("a", "later")))).toEqual([
      "assistant: call a",
      `user: result a: ${NO_RESULT}`,
      "user: stop",
      "user: go on",
      "assistant: call a",
      "user: result a: later",
    ])
  })

  test("each later call keeps its own result", () => {
    const later = ["one", "two", "three"].flatMap((content) => [message("assistant", call("a")), message("user", result("a", content))])
    expect(sent(...interrupted, ...later).slice(4)).toEqual([
      "assistant: call a",
      "user: result a: one",
      "assistant: call a",
      "user: result a: two",
      "assistant: call a",
      "user: result a: three",
    ])
  })

  test("a result that came late goes to the call it stands behind, where that one has none of its own", () => {
    expect(sent(message("assistant", call("a")), message("user", text("wait")), message("user", result("a", "late")), ...interrupted)).toEqual([
      "assistant: call a",
      "user: result a: late",
      "user: wait",
      "assistant: call a",
      `user: result a: ${NO_RESULT}`,
      "user: stop",
      "user: go on",
    ])
  })

  test("so do 10,000 later calls", () => {
    const later = Array.from({ length: 10_000 }, (_, index) => [message("assistant", call("a")), message("user", result("a", String(index)))])
    expect(sent(...interrupted, ...later.flat()).slice(-2)).toEqual(["assistant: call a", "user: result a: 9999"])
  })
})

describe("transcripts that grow and part", () => {
  test("growing one message at a time, each request is right for its moment", () => {
    let transcript = History.of<Message>([message("user", text("hi"))])
    const steps: (readonly string[])[] = []
    for (const next of [message("assistant", call("a")), message("user", result("a")), message("assistant", text("done"))]) {
      transcript = transcript.append([next])
      steps.push(shown(transcript).slice(1))
    }
    expect(steps).toEqual([
      ["assistant: call a", `user: result a: ${NO_RESULT}`],
      ["assistant: call a", "user: result a: result a"],
      ["assistant: call a", "user: result a: result a", "assistant: done"],
    ])
  })

  test("an older transcript is still well paired after a younger one was broken", () => {
    const past = History.of([message("user", text("hi"))])
    const broken = past.append([message("assistant", call("a"))]).append([message("user", text("stop"))])
    expect(shown(broken)).toHaveLength(4)
    const request = project(past)
    expect(pairToolCalls(request, past)).toBe(request)
    expect(shown(broken)).toEqual(["user: hi", "assistant: call a", `user: result a: ${NO_RESULT}`, "user: stop"])
  })

  test("two futures of one past are judged each by itself", () => {
    const past = History.of([message("assistant", call("a"))])
    const good = past.append([message("user", result("a"))])
    const bad = past.append([message("user", text("no"))])
    const request = project(good)
    expect(pairToolCalls(request, good)).toBe(request)
    expect(shown(bad)).toEqual(["assistant: call a", `user: result a: ${NO_RESULT}`, "user: no"])
    expect(pairToolCalls(project(good), good).messages).toHaveLength(2)
  })
})

test("a mended request changes neither the request nor its messages", () => {
  const transcript = History.of([message("assistant", call("a")), message("user", text("no"), result("b"))])
  const request = project(transcript)
  const before = JSON.stringify(request)
  pairToolCalls(request, transcript)
  expect(JSON.stringify(request)).toBe(before)
})
