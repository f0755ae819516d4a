import { describe, expect, test } from "vitest"
import { pairToolCalls } from "../../src/drivers/tool-pairs.ts"
import { messagesListing } from "../../src/lazy.ts"
import { History } from "../../src/machine/history.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { Block, LlmRequest } from "../../src/schemas/llm.ts"
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
    startLength: transcript.length,
    events: History.of([]),
    turnCauses: [],
    iteration: 0,
    useTools: true,
  })
}

/** The request to be sent, one line per message with each block abbreviated. */
function sent(...messages: readonly Message[]): readonly string[] {
  return shown(History.of(messages))
}

function shown(transcript: History<Message>): readonly string[] {
  const request = plain(pairToolCalls(project(transcript)))
  // A plain list of the same messages is paired in the same way.
  if (transcript.length < 100) expect(pairToolCalls(plain(project(transcript)))).toEqual(request)
  return request.messages.map(({ role, blocks }) => {
    const inShort = blocks.map((block) => {
      if (block.type === "tool_call") return `call ${block.callId}`
      if (block.type === "tool_result") return `result ${block.callId}: ${block.text}`
      return block.type === "text" ? block.text : block.type
    })
    return `${role}: ${inShort.join(" | ")}`
  })
}

describe("a transcript in which each call is followed by its result", () => {
  test("is sent unchanged, as the same request object", () => {
    const transcript = History.of([
      message("user", text("hi")),
      message("assistant", text("ok"), call("a"), call("b")),
      message("user", result("b"), result("a"), { id: "p", type: "image", text: "x" }),
      message("assistant", call("c")),
      message("user", result("c"), text("and this")),
      message("assistant", text("done")),
    ])
    const request = project(transcript)
    expect(pairToolCalls(request)).toBe(request)
  })

  test("may repeat call ids in a later message, as some models do", () => {
    const transcript = History.of([
      message("assistant", call("call_0")),
      message("user", result("call_0")),
      message("assistant", call("call_0")),
      message("user", result("call_0")),
    ])
    const request = project(transcript)
    expect(pairToolCalls(request)).toBe(request)
  })
})

describe("a call without a result", () => {
  test("at the end gets a placeholder", () => {
    expect(sent(message("user", text("hi")), message("assistant", call("a"), call("b")))).toEqual([
      "user: hi",
      "assistant: call a | call b",
      `user: result a: ${NO_RESULT} | result b: ${NO_RESULT}`,
    ])
  })

  test("in the middle gets one too, before the next message", () => {
    expect(sent(message("assistant", call("a")), message("user", text("never mind")), message("assistant", text("fine")))).toEqual([
      "assistant: call a",
      `user: result a: ${NO_RESULT}`,
      "user: never mind",
      "assistant: fine",
    ])
  })

  test("does not affect the result of the call next to it", () => {
    expect(sent(message("assistant", call("a"), call("b")), message("user", result("b")))).toEqual([
      "assistant: call a | call b",
      `user: result a: ${NO_RESULT} | result b: result b`,
    ])
  })

  test("gets a placeholder with the tool's name", () => {
    const transcript = History.of([message("assistant", call("a"))])
    expect(plain(pairToolCalls(project(transcript))).messages[1]).toEqual({
      role: "user",
      blocks: [{ type: "tool_result", callId: "a", toolName: "look", text: NO_RESULT }],
    })
  })

  test("is left out if it is not in an assistant message", () => {
    expect(sent(message("user", text("look: "), call("a")), message("system", call("b")))).toEqual(["user: look: "])
  })
})

describe("a result away from its call", () => {
  test("moves after it", () => {
    expect(sent(message("assistant", call("a")), message("system", text("by the way")), message("user", result("a")))).toEqual([
      "assistant: call a",
      "user: result a: result a",
      "system: Runtime note:\nby the way",
    ])
  })

  test("leaves the other blocks of its message in place", () => {
    expect(sent(message("assistant", call("a")), message("user", text("first")), message("user", result("a"), text("second")))).toEqual([
      "assistant: call a",
      "user: result a: result a",
      "user: first",
      "user: second",
    ])
  })

  test("moves from a message of another role too", () => {
    expect(sent(message("assistant", call("a")), message("system", result("a"), text("note")))).toEqual([
      "assistant: call a",
      "user: result a: result a",
      "system: Runtime note:\nnote",
    ])
  })

  test("moves over messages of every other role", () => {
    const between = [message("user", text("quick")), message("event", text("rang")), message("system", text("note"))]
    expect(sent(message("assistant", call("a"), call("b")), message("user", result("b")), ...between, message("user", result("a")))).toEqual([
      "assistant: call a | call b",
      "user: result a: result a | result b: result b",
      "user: quick",
      "user: Runtime event:\nrang",
      "system: Runtime note:\nnote",
    ])
  })

  test("does not count from the next assistant message on: what was sent before it does not change", () => {
    const cut = [message("assistant", call("a"), call("b")), message("user", result("b"), text("wait"))]
    const before = ["assistant: call a | call b", `user: result a: ${NO_RESULT} | result b: result b`, "user: wait"]
    expect(sent(...cut)).toEqual(before)
    expect(sent(...cut, message("assistant", text("fine")), message("user", result("a", "late"), text("and")))).toEqual([
      ...before,
      "assistant: fine",
      "user: [Result of an earlier tool call]\nlate | and",
    ])
    expect(sent(...cut, message("assistant", result("a", "mine"), text("said")))).toEqual([
      ...before,
      "assistant: [Result of an earlier tool call]\nmine | said",
    ])
  })

  test("does not count if it is in or before the call's message", () => {
    expect(sent(message("user", result("a", "early")), message("assistant", call("a"), result("a", "same")))).toEqual([
      "user: [Result of an earlier tool call]\nearly",
      "assistant: call a | [Result of an earlier tool call]\nsame",
      `user: result a: ${NO_RESULT}`,
    ])
  })
})

describe("a result without a call", () => {
  test("becomes a text, so that its content is not lost", () => {
    expect(sent(message("user", text("hi"), result("gone")))).toEqual(["user: hi | [Result of an earlier tool call]\nresult gone"])
  })

  test("becomes a text if it is the second one for a call", () => {
    expect(sent(message("assistant", call("a")), message("user", result("a", "one"), result("a", "two")))).toEqual([
      "assistant: call a",
      "user: result a: one",
      "user: [Result of an earlier tool call]\ntwo",
    ])
  })

  test("two calls with one id get two results, in order, if one message makes both", () => {
    const results = message("user", result("a", "one"), result("a", "two"))
    expect(sent(message("assistant", call("a"), call("a")), message("user", text("wait")), results)).toEqual([
      "assistant: call a | call a",
      "user: result a: one | result a: two",
      "user: wait",
    ])
    expect(sent(message("assistant", call("a")), message("assistant", call("a")), results)).toEqual([
      "assistant: call a",
      `user: result a: ${NO_RESULT}`,
      "assistant: call a",
      "user: result a: one",
      "user: [Result of an earlier tool call]\ntwo",
    ])
  })
})

describe("results that are complete in the next message", () => {
  test("do not hide a stray result beside the calls", () => {
    expect(sent(message("assistant", call("a"), result("b", "mine")), message("user", result("a")))).toEqual([
      "assistant: call a | [Result of an earlier tool call]\nmine",
      "user: result a: result a",
    ])
  })

  test("do not hide a stray call beside them", () => {
    expect(sent(message("assistant", call("a")), message("user", result("a"), call("b"), text("and")))).toEqual([
      "assistant: call a",
      "user: result a: result a",
      "user: and",
    ])
  })
})

describe("results that come in several messages", () => {
  test("two calls with one id get both", () => {
    expect(sent(message("assistant", call("a"), call("a")), message("user", result("a", "one")), message("user", result("a", "two")))).toEqual([
      "assistant: call a | call a",
      "user: result a: one | result a: two",
    ])
  })

  test("move to their own exchange, also after an exchange of the same kind", () => {
    const late = (callId: string, content: string) => [
      message("assistant", call(callId)),
      message("user", text("wait")),
      message("user", result(callId, content)),
    ]
    expect(sent(...late("a", "one"), ...late("b", "two"), ...late("a", "three"))).toEqual([
      ...["assistant: call a", "user: result a: one", "user: wait"],
      ...["assistant: call b", "user: result b: two", "user: wait"],
      ...["assistant: call a", "user: result a: three", "user: wait"],
    ])
  })
})

describe("call ids that models reuse in each message", () => {
  const interrupted = [message("assistant", call("a")), message("user", text("stop")), message("user", text("go on"))]

  test("an interrupted call does not get the result of a later call with its id", () => {
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

  test("a late result goes to the call it follows, if that call has no other result", () => {
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

  test("10,000 later calls keep their own results", () => {
    const later = Array.from({ length: 10_000 }, (_, index) => [message("assistant", call("a")), message("user", result("a", String(index)))])
    expect(sent(...interrupted, ...later.flat()).slice(-2)).toEqual(["assistant: call a", "user: result a: 9999"])
  })
})

describe("transcripts that grow and fork", () => {
  test("each request is correct while a transcript grows message by message", () => {
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

  test("an older transcript stays paired after a newer one has lost its pairing", () => {
    const past = History.of([message("user", text("hi"))])
    const broken = past.append([message("assistant", call("a"))]).append([message("user", text("stop"))])
    expect(shown(broken)).toHaveLength(4)
    const request = project(past)
    expect(pairToolCalls(request)).toBe(request)
    expect(shown(broken)).toEqual(["user: hi", "assistant: call a", `user: result a: ${NO_RESULT}`, "user: stop"])
  })

  test.each([
    ["a result without a call", [text("hi"), text("and")], [message("user", result("gone"))]],
    ["a call without a result", [text("hi")], [message("assistant", call("a")), message("assistant", text("fine"))]],
    ["a result that is late", [text("hi")], [message("assistant", call("a")), message("user", text("wait")), message("user", result("a"))]],
  ])("what comes before %s stays as it is, also when that was paired", (_what, parts, later) => {
    const past = History.of(parts.map((part) => message("user", part)))
    expect(shown(past.append(later))).not.toHaveLength(0)
    const request = project(past)
    expect(pairToolCalls(request)).toBe(request)
  })

  test("two forks of one transcript are checked independently", () => {
    const past = History.of([message("assistant", call("a"))])
    const good = past.append([message("user", result("a"))])
    const bad = past.append([message("user", text("no"))])
    const request = project(good)
    expect(pairToolCalls(request)).toBe(request)
    expect(shown(bad)).toEqual(["assistant: call a", `user: result a: ${NO_RESULT}`, "user: no"])
    expect(pairToolCalls(project(good)).messages).toHaveLength(2)
  })
})

describe("a request whose messages are a plain list", () => {
  const paired: LlmRequest["messages"] = [
    { role: "assistant", blocks: [callBlock("a"), callBlock("b")] },
    { role: "user", blocks: [resultBlock("b"), { type: "text", text: "and" }, resultBlock("a")] },
  ]
  const requestOf = (messages: LlmRequest["messages"]): LlmRequest => ({ ...project(History.of([])), messages })

  test("is returned unchanged if it is paired", () => {
    const request = requestOf(paired)
    expect(pairToolCalls(request)).toBe(request)
  })

  test("is repaired as the same messages in a transcript", () => {
    const cut = paired.concat([
      { role: "assistant", blocks: [callBlock("c")] },
      { role: "user", blocks: [{ type: "text", text: "stop" }] },
    ])
    const { messages } = pairToolCalls(requestOf(cut))
    expect(Array.isArray(messages)).toBe(true)
    expect(messages.slice(0, 3)).toEqual(cut.slice(0, 3))
    expect(messages.slice(3)).toEqual([{ role: "user", blocks: [{ ...resultBlock("c"), text: NO_RESULT }] }, cut[3]])
  })
})

function callBlock(callId: string): Block {
  return { type: "tool_call", callId, toolName: "look", inputJson: "{}" }
}
function resultBlock(callId: string): Block {
  return { type: "tool_result", callId, toolName: "look", text: callId }
}

describe("the repaired messages", () => {
  test("are the same objects in the next request, up to the last assistant message", () => {
    const transcript = History.of([message("assistant", call("a")), message("user", text("stop")), message("assistant", call("b"))])
    const before = pairToolCalls(project(transcript)).messages
    const after = pairToolCalls(project(transcript.append([message("user", result("b")), message("assistant", text("done"))]))).messages
    expect(before).toHaveLength(5)
    expect(after).toHaveLength(6)
    for (const index of [0, 1, 2, 3]) expect(after[index]).toBe(before[index])
  })

  test("are made of segments that outlive the request", () => {
    const transcript = History.of([message("assistant", call("a")), message("user", text("stop"))]).append([message("assistant", text("fine"))])
    const segments = (given: History<Message>) => messagesListing(pairToolCalls(project(given)))?.segments?.()
    const [system, paired, ...rest] = segments(transcript) ?? []
    expect(rest).toEqual([])
    expect(system?.length).toBe(0)
    expect(paired?.length).toBe(4)
    expect(segments(transcript.append([message("user", text("more"))]))?.[1]).toEqual({ storage: paired?.storage, length: 5 })
  })

  test("of a shorter transcript are right after a longer one was paired", () => {
    const messages = [message("assistant", call("a")), message("user", text("stop")), message("assistant", call("b")), message("user", result("b"))]
    const whole = History.of(messages)
    const expected = messages.map((_, length) => sent(...messages.slice(0, length)))
    shown(whole)
    expect(messages.map((_, length) => shown(whole.prefix(length)))).toEqual(expected)
  })
})

test("a repair mutates neither the request nor its messages", () => {
  const transcript = History.of([message("assistant", call("a")), message("user", text("no"), result("b"))])
  const request = project(transcript)
  const before = JSON.stringify(request)
  pairToolCalls(request)
  expect(JSON.stringify(request)).toBe(before)
})
