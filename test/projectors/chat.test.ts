import { describe, expect, test } from "vitest"
import { History } from "../../src/machine/history.ts"
import { chatProjector, isReplayable } from "../../src/projectors/chat.ts"
import type { ProjectionInput } from "../../src/projectors/projector.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { Message, Part, TurnCause } from "../../src/schemas/message.ts"
import { configOf, plain, userMessage } from "../machine/support.ts"

const TOOL = { name: "look", description: "Looks.", inputSchema: { type: "object" } }

function project(messages: History<Message> | readonly Message[], more: Partial<ProjectionInput> = {}): LlmRequest {
  return chatProjector({
    config: configOf(),
    systemPrompt: "",
    tools: [],
    messages: messages instanceof History ? messages : History.of(messages),
    events: History.of([]),
    turnCauses: [],
    iteration: 0,
    useTools: true,
    ...more,
  })
}

function message(role: Message["role"], ...parts: readonly Part[]): Message {
  return { id: "m", role, parts }
}
const text = (content: string): Part => ({ id: "p", type: "text", text: content })
const picture = (id: string): Part => ({ id: "p", type: "image", attachment: { id, mediaType: "image/png", byteLength: 1 } })

describe("the request as a whole", () => {
  test("has the keys of the config, and leaves out absent ones", () => {
    expect(plain(project([userMessage("hi")]))).toEqual({
      model: "test-model",
      messages: [{ role: "user", blocks: [{ type: "text", text: "hi" }] }],
      attachments: [],
      tools: [],
      toolChoice: "auto",
      generation: {},
    })
    const config = configOf({ modelVariant: "fast", runSessionId: "run", generation: { maxOutputTokens: 9 } })
    expect(plain(project([], { config, tools: [TOOL] }))).toEqual({
      model: "test-model",
      modelVariant: "fast",
      messages: [],
      attachments: [],
      tools: [TOOL],
      toolChoice: "auto",
      generation: { maxOutputTokens: 9 },
      sessionId: "run",
    })
  })

  test("the prompt and tools are the last synced ones, not the config's", () => {
    const config = configOf({ systemPrompt: "config's", tools: [{ ...TOOL, name: "old" }] })
    const request = plain(project([], { config, systemPrompt: "synced", tools: [TOOL] }))
    expect(request.messages).toEqual([{ role: "system", blocks: [{ type: "text", text: "synced" }] }])
    expect(request.tools).toEqual([TOOL])
  })

  test("without tools the tool choice is none", () => {
    expect(plain(project([], { tools: [TOOL], useTools: false }))).toMatchObject({ tools: [], toolChoice: "none" })
  })

  test("is equal in JSON, spread, structuredClone and Object.keys", () => {
    const request = project([userMessage("hi"), message("user", picture("a"))])
    const expected = [
      { role: "user", blocks: [{ type: "text", text: "hi" }] },
      { role: "user", blocks: [{ type: "image", attachmentIndex: 0 }] },
    ]
    expect(plain(request).messages).toEqual(expected)
    expect({ ...request }.messages).toEqual(expected)
    expect(structuredClone(request).messages).toEqual(expected)
    expect(Object.keys(request).sort()).toEqual(["attachments", "generation", "messages", "model", "toolChoice", "tools"])
    expect(structuredClone(request).attachments).toEqual([{ id: "a", mediaType: "image/png", byteLength: 1 }])
    expect(request.messages).toBe(request.messages)
  })
})

describe("attachments", () => {
  test("are numbered across the whole request", () => {
    const request = plain(project([message("user", picture("a"), text("and"), picture("b")), message("user", picture("c"))]))
    expect(request.attachments.map(({ id }) => id)).toEqual(["a", "b", "c"])
    expect(request.messages.flatMap(({ blocks }) => blocks.map((block) => (block.type === "image" ? block.attachmentIndex : block.type)))).toEqual([
      0,
      "text",
      1,
      2,
    ])
  })

  test("of a request are those of its own transcript, although a longer one has more", () => {
    const short = History.of([message("user", picture("a"))])
    const request = project(short)
    const longer = project(short.append([message("user", picture("b"))]))
    expect(plain(longer).attachments.map(({ id }) => id)).toEqual(["a", "b"])
    expect(plain(request).attachments.map(({ id }) => id)).toEqual(["a"])
    expect(plain(project(short)).attachments.map(({ id }) => id)).toEqual(["a"])
    expect(plain(project(short.prefix(0))).attachments).toEqual([])
  })
})

describe("the cost of a projection depends on the new messages", () => {
  /** A message that counts how often its parts are read. */
  function counted(content: string): { readonly message: Message; readonly reads: () => number } {
    let reads = 0
    const inner = { id: content, role: "user" as const, parts: [text(content)] }
    const watched = new Proxy(inner, {
      get(target, key, receiver) {
        if (key === "parts") reads += 1
        return Reflect.get(target, key, receiver) as unknown
      },
    })
    return { message: watched, reads: () => reads }
  }

  test("a message is rendered once, however often its transcript grows", () => {
    const first = counted("first")
    let transcript = History.of<Message>([first.message])
    for (let index = 0; index < 20; index += 1) {
      transcript = transcript.append([userMessage(`message ${index}`)])
      expect(project(transcript).messages).toHaveLength(index + 2)
    }
    expect(first.reads()).toBe(1)
  })

  test("rendered messages are shared with the next request", () => {
    const transcript = History.of([userMessage("one"), userMessage("two")])
    const before = project(transcript).messages
    const after = project(transcript.append([userMessage("three")])).messages
    expect(after[0]).toBe(before[0])
    expect(after[1]).toBe(before[1])
  })

  test("the messages of a request are not built until they are read", () => {
    const transcript = History.of([userMessage("one")])
    const request = project(transcript, { systemPrompt: "first" })
    project(transcript.append([userMessage("two")]))
    expect(request.messages).toEqual([
      { role: "system", blocks: [{ type: "text", text: "first" }] },
      { role: "user", blocks: [{ type: "text", text: "one" }] },
    ])
  })
})

describe("transcripts that diverge", () => {
  test("each is rendered with its own messages, in any order of reading", () => {
    const past = History.of([userMessage("past")])
    const left = past.append([userMessage("left"), userMessage("further left")])
    const right = past.append([userMessage("right")])
    const said = (transcript: History<Message>) =>
      project(transcript).messages.map(({ blocks: [block] }) => (block?.type === "text" ? block.text : ""))
    expect(said(right)).toEqual(["past", "right"])
    expect(said(left)).toEqual(["past", "left", "further left"])
    expect(said(past)).toEqual(["past"])
    expect(said(left.prefix(2))).toEqual(["past", "left"])
    expect(said(right.append([userMessage("more")]))).toEqual(["past", "right", "more"])
    expect(said(left)).toEqual(["past", "left", "further left"])
  })
})

describe("turn causes", () => {
  const cause = (id: string): TurnCause => ({
    id,
    eventType: "mail",
    origin: { type: "plugin", pluginId: "p", transient: true },
    text: `\u0085${id} `,
  })
  const event: Message = { id: "e1", role: "event", parts: [text("the event's own message")] }

  test("replace their event messages, at the end", () => {
    const request = plain(project([event, userMessage("hi")], { turnCauses: [cause("e1")], systemPrompt: "prompt" }))
    expect(request.messages).toEqual([
      { role: "system", blocks: [{ type: "text", text: "prompt" }] },
      { role: "user", blocks: [{ type: "text", text: "hi" }] },
      { role: "user", blocks: [{ type: "text", text: "=== TURN EVENTS ===\n\n--- event[0] · mail · e1 ---\nOrigin: plugin p (transient)\n\ne1" }] },
    ])
  })

  test("a message of another role with a cause's id stays, and so does an event that is not a cause", () => {
    const request = plain(
      project(
        [
          { ...event, role: "user" },
          { ...event, id: "e9" },
        ],
        { turnCauses: [cause("e1")] },
      ),
    )
    expect(request.messages.map(({ blocks: [block] }) => block?.type === "text" && block.text.slice(0, 20))).toEqual([
      "the event's own mess",
      "Runtime event:\nthe e",
      "=== TURN EVENTS ===\n",
    ])
  })

  test("the origin of a process has its number, and its wake if there is one", () => {
    const origin = { type: "process", processId: "p1", eventType: "tick", sequence: 7 } as const
    const shown = (given: TurnCause["origin"]): string => JSON.stringify(project([], { turnCauses: [{ ...cause("e1"), origin: given }] }).messages)
    expect(shown(origin)).toContain("Origin: process p1 tick #7\\n")
    expect(shown({ ...origin, wakeId: "w" })).toContain("Origin: process p1 tick #7 (w)\\n")
  })
})

describe("reasoning is sent back only to the provider that sent it", () => {
  test.each([
    [undefined, false],
    [{}, false],
    [{ summary: [] }, false],
    [{ summary: [""] }, true],
    [{ itemId: "" }, true],
    [{ encryptedContent: "" }, true],
    [{ signature: "" }, true],
    [{ redacted: true as const }, true],
  ])("%j: %s", (replay, known) => {
    expect(isReplayable(replay)).toBe(known)
    const part: Part = { id: "p", type: "reasoning", text: "hm", ...(replay !== undefined && { replay }) }
    expect(plain(project([message("assistant", part)])).messages).toEqual(
      known ? [{ role: "assistant", blocks: [{ type: "reasoning", text: "hm", replay }] }] : [],
    )
  })
})
