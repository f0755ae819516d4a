import { describe, expect, test } from "vitest"
import { History } from "../../src/machine/history.ts"
import { chatProjector, createChatProjector, isReplayable } from "../../src/projectors/chat.ts"
import type { ProjectionInput, Projector } from "../../src/projectors/projector.ts"
import type { Block, LlmMessage, LlmRequest, OutputPart } from "../../src/schemas/llm.ts"
import type { Message, Part, Producer, TurnCause } from "../../src/schemas/message.ts"
import type { InterruptedReason } from "../../src/wire/message.ts"
import { configOf, plain, userMessage } from "../machine/support.ts"

const TOOL = { name: "look", description: "Looks.", inputSchema: { type: "object" } }

function project(messages: History<Message> | readonly Message[], more: Partial<ProjectionInput> = {}, projector = chatProjector): LlmRequest {
  const transcript = messages instanceof History ? messages : History.of(messages)
  return projector({
    config: configOf(),
    systemPrompt: "",
    tools: [],
    messages: transcript,
    startLength: transcript.length,
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
    expect(plain(project([], { config: configOf({ parallelToolCalls: false, cache: "off" }) }))).toMatchObject({
      parallelToolCalls: false,
      cache: "off",
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
    expect(first.reads()).toBe(2)
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

const cause = (id: string): TurnCause => ({
  id,
  eventType: "mail",
  origin: { type: "plugin", pluginId: "p", transient: true },
  text: `\u0085${id} `,
})
const event: Message = { id: "e1", role: "event", parts: [text("the event's own message")] }
const firstTexts = (request: LlmRequest): readonly string[] =>
  plain(request).messages.map(({ blocks: [block] }) => (block?.type === "text" ? block.text : ""))

describe("turn causes", () => {
  /** The event message that a delivered cause has. */
  const delivered = ({ id, origin, text: content }: TurnCause): Message => ({ id, role: "event", parts: [text(content)], origin })
  const process = { type: "process", processId: "p1", eventType: "tick", sequence: 7, wakeId: "w" } as const

  test("are shown where they were delivered, with their origin and the type that it names", () => {
    const causes = [cause("e1"), { ...cause("e2"), origin: process }]
    const transcript = [userMessage("hi"), delivered(cause("e1")), message("assistant", text("so?")), delivered({ ...cause("e2"), origin: process })]
    expect(firstTexts(project(transcript, { turnCauses: causes, startLength: 1 }))).toEqual([
      "hi",
      "--- event · e1 ---\nOrigin: plugin p (transient)\n\ne1",
      "so?",
      "--- event · tick · e2 ---\nOrigin: process p1 tick #7 (w)\n\ne2",
    ])
  })

  test("are shown in the same way in later turns, which they do not cause", () => {
    const transcript = History.of([userMessage("hi"), delivered(cause("e1")), message("assistant", text("so?"))])
    const during = project(transcript, { turnCauses: [cause("e1")], startLength: 1 })
    const later = project(transcript.append([userMessage("next")]), { startLength: 4 })
    expect(later.messages.slice(0, 3)).toEqual(during.messages)
  })

  test("without an event message follow the messages that the turn began with", () => {
    const start = [userMessage("before"), userMessage("hi")]
    const transcript = History.of(start)
    const input = { turnCauses: [cause("e1"), cause("e2")], startLength: 2, systemPrompt: "prompt" }
    const first = project(transcript, input)
    const shown = ["e1", "e2"].map((id) => `--- event · mail · ${id} ---\nOrigin: plugin p (transient)\n\n${id}`)
    expect(firstTexts(first)).toEqual(["prompt", "before", "hi", ...shown])
    expect(first.messages.slice(3).map(({ role }) => role)).toEqual(["user", "user"])

    const grown = transcript.append([message("assistant", text("so?")), delivered(cause("e3"))])
    const second = project(grown, { ...input, turnCauses: [...input.turnCauses, cause("e3")] })
    expect(firstTexts(second).slice(5)).toEqual(["so?", "--- event · e3 ---\nOrigin: plugin p (transient)\n\ne3"])
    for (const [index, sent] of first.messages.entries()) expect(second.messages[index]).toBe(sent)
    expect(firstTexts(project(transcript, input))).toEqual(firstTexts(first))
  })

  test("without an event message come first in a turn that begins with no message", () => {
    const answered = [message("assistant", text("so?"))]
    expect(firstTexts(project(answered, { turnCauses: [cause("e1")], startLength: 0 }))[1]).toBe("so?")
  })

  test("of a turn that began with their event messages are shown there", () => {
    const transcript = [delivered(cause("e1")), userMessage("hi")]
    expect(firstTexts(project(transcript, { turnCauses: [cause("e1")] }))).toEqual(["--- event · e1 ---\nOrigin: plugin p (transient)\n\ne1", "hi"])
  })

  test("of which one was delivered twice is shown by the first of its event messages, also in an earlier request", () => {
    const transcript = History.of([delivered(cause("e1")), userMessage("hi"), message("assistant", text("so?")), delivered(cause("e1"))])
    const shown = "--- event · e1 ---\nOrigin: plugin p (transient)\n\ne1"
    expect(firstTexts(project(transcript, { turnCauses: [cause("e1")], startLength: 2 }))).toEqual([shown, "hi", "so?", shown])
    expect(firstTexts(project(transcript.prefix(2), { turnCauses: [cause("e1")], startLength: 2 }))).toEqual([shown, "hi"])
  })

  test("with a blank text still say that something happened", () => {
    const blank = { ...cause("e1"), text: " \n" }
    const expected = "Origin: plugin p (transient)"
    expect(firstTexts(project([delivered(blank)], { turnCauses: [blank] }))).toEqual([`--- event · e1 ---\n${expected}`])
    expect(firstTexts(project([], { turnCauses: [blank] }))).toEqual([`--- event · mail · e1 ---\n${expected}`])
  })

  test("an event message without an origin is a runtime event", () => {
    expect(firstTexts(project([event]))).toEqual(["Runtime event:\nthe event's own message"])
  })

  test("are not hidden by another event message with their id, which would change what was sent", () => {
    const shown = "--- event · mail · e1 ---\nOrigin: plugin p (transient)\n\ne1"
    for (const other of [event, delivered({ ...cause("e1"), origin: process })]) {
      const start = History.of([userMessage("hi")])
      const input = { turnCauses: [cause("e1")], startLength: 1 }
      expect(firstTexts(project(start, input))).toEqual(["hi", shown])
      expect(firstTexts(project(start.append([other]), input)).slice(0, 2)).toEqual(["hi", shown])
      // Without what was kept from the first request.
      expect(firstTexts(project([userMessage("hi"), other], input)).slice(0, 2)).toEqual(["hi", shown])
    }
  })
})

describe('turn causes at the tail, createChatProjector({ turnCauses: "tail" })', () => {
  const tail = createChatProjector({ turnCauses: "tail" })

  test("replace their event messages, at the end", () => {
    const request = plain(project([event, userMessage("hi")], { turnCauses: [cause("e1")], systemPrompt: "prompt" }, tail))
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
        tail,
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
    const shown = (given: TurnCause["origin"]): string =>
      JSON.stringify(project([], { turnCauses: [{ ...cause("e1"), origin: given }] }, tail).messages)
    expect(shown(origin)).toContain("Origin: process p1 tick #7\\n")
    expect(shown({ ...origin, wakeId: "w" })).toContain("Origin: process p1 tick #7 (w)\\n")
  })

  test("both projectors may render one transcript, in any order", () => {
    const transcript = History.of([event, userMessage("hi")])
    const both = (): readonly string[] =>
      [chatProjector, tail].map((projector) => JSON.stringify(project(transcript, { turnCauses: [cause("e1")] }, projector)))
    expect(both()).toEqual(both())
  })
})

describe("createChatProjector", () => {
  test("makes the chat projector by default", () => {
    expect(createChatProjector()).toBe(chatProjector)
    expect(createChatProjector({ turnCauses: "inline" })).toBe(chatProjector)
  })

  test("refuses other options, and input: it is not a projector itself", () => {
    expect(() => createChatProjector({ turnCauses: "end" } as never)).toThrow("`turnCauses` is `inline` or `tail`.")
    const uncalled = createChatProjector as unknown as Projector
    expect(() => project([], {}, uncalled)).toThrow("Pass createChatProjector(), not createChatProjector.")
  })
})

const PRODUCER: Producer = { provider: "api.example.com", api: "openai-chat", model: "m", responseId: "r1" }

describe("an answer with a producer goes back as it was given", () => {
  const parts: readonly OutputPart[] = [
    { type: "reasoning", text: " first ", replay: { signature: "s1" } },
    { type: "text", text: " let me see\n", responseMeta: { id: "t1" }, providerMetadata: { cited: [1] } },
    { type: "opaque", provider: "api.example.com", kind: "search", data: { q: 1 }, text: "found", providerMetadata: 5 },
    { type: "reasoning", text: "without a signature" },
    { type: "opaque", provider: "api.example.com", kind: "other", data: null },
    { type: "text", text: "", providerMetadata: { thoughtSignature: "x" } },
    { type: "tool_call", callId: "c", toolName: "look", inputJson: "{", replay: { itemId: "i" }, providerMetadata: null },
  ]
  const answer = (given: readonly OutputPart[], producer?: Producer): Message => ({
    id: "a",
    role: "assistant",
    parts: given.map((part, index): Part => ({ id: `a.p${index}`, ...part })),
    ...(producer !== undefined && { producer }),
  })

  test("part by part, key by key, with the producer", () => {
    expect(plain(project([answer(parts, PRODUCER)])).messages).toEqual([{ role: "assistant", blocks: parts, producer: PRODUCER }])
  })

  test("without a producer, reasoning that has neither replay data nor metadata is left out", () => {
    const signed: OutputPart = { type: "reasoning", text: "hm", providerMetadata: { signature: "s" } }
    const [sent] = plain(project([answer([...parts, signed])])).messages as readonly [LlmMessage]
    expect(sent).toEqual({ role: "assistant", blocks: [...parts.filter((part) => part !== parts[3]), signed] })
  })

  test("blank reasoning and texts without metadata are left out", () => {
    expect(
      plain(project([answer([parts[6] as OutputPart, { type: "reasoning", text: " " }, { type: "text", text: "\n" }], PRODUCER)])).messages,
    ).toEqual([{ role: "assistant", blocks: [parts[6]], producer: PRODUCER }])
  })
})

describe("files, results and opaque parts", () => {
  const file = (id: string): Part => ({ id: "p", type: "file", attachment: { id, mediaType: "application/pdf", byteLength: 1 }, providerMetadata: 1 })

  test("a file of the user is an attachment, numbered with the images", () => {
    const request = plain(project([message("user", picture("a"), file("b")), message("user", picture("c"))]))
    expect(request.attachments.map(({ id }) => id)).toEqual(["a", "b", "c"])
    expect(request.messages[0]?.blocks).toEqual([
      { type: "image", attachmentIndex: 0 },
      { type: "file", attachmentIndex: 1, providerMetadata: 1 },
    ])
  })

  test.each(["assistant", "system", "event"] as const)("a file under the role %s is a text", (role) => {
    const request = plain(project([message(role, file("b"))]))
    expect(request.attachments).toEqual([])
    expect(firstTexts(request)[0]).toContain("[File attached]")
  })

  test("a result keeps its error and its content; pruned, only its error", () => {
    const content = [
      { type: "text", text: "one" },
      { type: "attachment", attachment: { id: "a", mediaType: "image/png", byteLength: 1 } },
    ] as const
    const result: Part = { id: "p", type: "tool_result", callId: "c", toolName: "t", text: "one", isError: true, content, providerMetadata: { k: 1 } }
    const blocks = (part: Part): readonly Block[] => plain(project([message("user", part)])).messages[0]?.blocks ?? []
    const { id: _id, ...block } = result
    expect(blocks(result)).toEqual([block])
    const { content: _content, ...pruned } = block
    expect(blocks({ ...result, prune: { type: "cleared" } })).toEqual([{ ...pruned, text: "[Old tool result content cleared]" }])
  })

  test("an opaque part outside an assistant message is its text, if it has one", () => {
    const opaque: Part = { id: "p", type: "opaque", provider: "x", kind: "k", data: {} }
    expect(plain(project([message("user", opaque)])).messages).toEqual([])
    expect(firstTexts(project([message("user", { ...opaque, text: "found" })]))).toEqual(["found"])
  })
})

describe("an answer that was cut off says so, after what was said", () => {
  const reasons: { readonly [Reason in InterruptedReason]: RegExp } = {
    cancelled: /cancelled/,
    output_limit: /output limit/,
    context_overflow: /context window/,
    content_filter: /content filter/,
    refusal: /declined/,
    empty: /neither text nor a tool call/,
    provider_error: /model call failed/,
  }
  test.each(Object.entries(reasons) as [InterruptedReason, RegExp][])("%s", (reason, expected) => {
    const [sent] = plain(project([message("assistant", text("Well"), { id: "p", type: "interrupted", reason })])).messages
    expect(sent?.role).toBe("assistant")
    const [said, mark, ...rest] = sent?.blocks ?? []
    expect([said, rest]).toEqual([{ type: "text", text: "Well" }, []])
    const shown = mark?.type === "text" ? mark.text : ""
    expect(shown).toMatch(/^\[[^.]+\.\]$/)
    expect(shown).toMatch(expected)
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
