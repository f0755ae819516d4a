import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { codeDriver } from "../../src/drivers/code.ts"
import { pairToolCalls } from "../../src/drivers/tool-pairs.ts"
import { isPlain } from "../../src/json.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { History } from "../../src/machine/history.ts"
import { chatProjector, createChatProjector } from "../../src/projectors/chat.ts"
import type { ProjectionInput } from "../../src/projectors/projector.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { LlmMessage, LlmRequest, OutputPart } from "../../src/schemas/llm.ts"
import type { Message, Part, Producer, TurnCause } from "../../src/schemas/message.ts"
import * as arbitrary from "../../src/testing/arbitraries.ts"
import { firstDifference } from "../../src/testing/difference.ts"
import type { HostMove } from "../../src/testing/scripted-host.ts"
import { isBlank } from "../../src/text.ts"
import { configOf, plain } from "../machine/support.ts"
import { check, FACTOR, SLOW } from "./check.ts"
import { playWithCrashes, restores } from "./play-with-crashes.ts"

const { configData, moves, start, turnCause } = arbitrary
const drivers = fc.constantFrom(chatDriver(), codeDriver())

describe("requests of the chat and code drivers only grow at their end (law 11)", () => {
  test("in a thread of two turns, with deliveries, cancelled work and crashes", SLOW, () => {
    let compared = 0
    check(
      150,
      fc.property(
        configData,
        drivers,
        start,
        fc.array(turnCause, { maxLength: 2 }),
        moves,
        moves,
        restores,
        (data, driver, begin, causes, first, second, again) => {
          const config = { ...data, driver, projector: chatProjector }
          const turnCauses = causes.map((cause, index) => ({ ...cause, id: `start ${index}` }))
          // Started with its causes as messages, as a thread does: so that the next turn begins with them.
          const began = { ...begin, messages: [...begin.messages, ...turnCauses.map(eventMessage)], turnCauses }
          const restore = (): boolean => again.next().value === true
          const sent: Sent[] = []
          const messages = play(config, began, withoutResults(first), restore, sent)
          const asked: Message = { id: "asked", role: "user", parts: [{ id: "asked.p0", type: "text", text: "Go on." }] }
          play(config, { messages: [...messages, asked], iterationOffset: 10 }, withoutResults(second), restore, sent)
          compared += expectGrowth(sent)
        },
      ),
    )
    // About two in a case. Turns that end at once compare nothing.
    expect(compared).toBeGreaterThan(100 * FACTOR)
  })

  test("in a turn whose causes have no messages", SLOW, () => {
    let compared = 0
    check(
      300,
      fc.property(configData, drivers, start, turnCause, moves, restores, (data, driver, begin, cause, played, again) => {
        const config = { ...data, driver, projector: chatProjector }
        const sent: Sent[] = []
        const restore = (): boolean => again.next().value === true
        play(config, { ...begin, turnCauses: [{ ...cause, id: "start" }] }, withoutResults(played), restore, sent)
        compared += expectGrowth(sent)
      }),
    )
    expect(compared).toBeGreaterThan(50 * FACTOR)
  })
})

interface Sent {
  readonly request: LlmRequest
  readonly systemPrompt: string
}

function eventMessage({ id, origin, text }: TurnCause): Message {
  return { id, role: "event", parts: [{ id: `${id}.p0`, type: "text", text }], origin }
}

/** The moves without tool results in what a host delivers or applies: a host gives results to the calls that ask for them. */
function withoutResults(given: readonly HostMove[]): readonly HostMove[] {
  const strip = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(strip)
    if (typeof value !== "object" || value === null || !isPlain(value)) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        key === "parts" && Array.isArray(item) ? item.filter((part: { type?: unknown }) => part.type !== "tool_result") : strip(item),
      ]),
    )
  }
  return strip(given) as readonly HostMove[]
}

/** Plays a turn with crashes and notes its requests. */
function play(config: TurnConfig, begin: TurnStart, given: readonly HostMove[], restore: () => boolean, sent: Sent[]): readonly Message[] {
  return playWithCrashes(config, begin, given, restore, (request, machine) => {
    sent.push({ request, systemPrompt: machine.turn.surface.systemPrompt })
  })
}

/** Compares each request with the one before, except for the system prompt, which the host may change. Returns how many were compared. */
function expectGrowth(sent: readonly Sent[]): number {
  const conversations = sent.map(({ request, systemPrompt }) => request.messages.slice(isBlank(systemPrompt) ? 0 : 1))
  conversations.forEach((conversation, index) => {
    const before = conversations[index - 1] ?? []
    const difference = firstDifference(conversation.slice(0, before.length), before)
    if (difference !== undefined)
      throw new Error(
        `Request ${index} does not continue the one before: ${JSON.stringify(difference)}\n${JSON.stringify(before)}\n${JSON.stringify(conversation)}`,
      )
  })
  sent.forEach(({ request }, index) => {
    const before = sent[index - 1]?.request.attachments ?? []
    expect(plain(request.attachments.slice(0, before.length))).toEqual(plain(before))
  })
  return Math.max(0, sent.length - 1)
}

const PRODUCER: Producer = { provider: "p", api: "a", model: "m" }
const signed = fc.record({ providerMetadata: arbitrary.json }, { requiredKeys: [] })
const outputPart: fc.Arbitrary<OutputPart> = fc
  .tuple(
    fc.oneof(
      arbitrary.outputPart,
      fc.record(
        { type: fc.constant("opaque" as const), provider: fc.string(), kind: fc.string(), data: arbitrary.json, text: fc.string() },
        { requiredKeys: ["type", "provider", "kind", "data"] },
      ),
    ),
    signed,
  )
  .map(([part, more]) => ({ ...part, ...more }))

describe("an answer", () => {
  test("comes out of the projector part by part as it went in, without its blank parts (law 12)", SLOW, () => {
    check(
      300,
      fc.property(fc.array(outputPart, { maxLength: 6 }), (parts) => {
        const message: Message = {
          id: "a",
          role: "assistant",
          parts: parts.map((part, index): Part => ({ id: `a.p${index}`, ...part })),
          producer: PRODUCER,
        }
        const blocks = parts.filter(isShown)
        const expected: readonly LlmMessage[] = blocks.length === 0 ? [] : [{ role: "assistant", blocks, producer: PRODUCER }]
        expect(plain(project(History.of([message])).messages)).toEqual(plain(expected))
      }),
    )
  })
})

function isShown(part: OutputPart): boolean {
  if (part.providerMetadata !== undefined) return true
  if (part.type === "text") return !isBlank(part.text)
  if (part.type !== "reasoning" || !isBlank(part.text)) return true
  const { itemId, encryptedContent, signature, redacted, summary = [] } = part.replay ?? {}
  return itemId !== undefined || encryptedContent !== undefined || signature !== undefined || redacted === true || summary.length > 0
}

describe("what is cached does not show", () => {
  test("a request is the same after any other requests of its transcript", SLOW, () => {
    const transcripts = fc.array(arbitrary.message, { maxLength: 8 })
    const causes = fc.array(turnCause, { maxLength: 2 })
    const asked = fc.array(fc.record({ length: fc.nat(8), causes: fc.nat(2), tail: fc.boolean(), startLength: fc.nat(8) }), { maxLength: 8 })
    const tail = createChatProjector({ turnCauses: "tail" })
    check(
      200,
      fc.property(transcripts, causes, asked, (messages, turnCauses, requests) => {
        const shared = History.of(messages)
        for (const request of requests) {
          const input = { turnCauses: turnCauses.slice(0, request.causes), startLength: request.startLength }
          const projector = request.tail ? tail : chatProjector
          const fresh = History.of(messages.slice(0, request.length))
          const made = pairToolCalls(project(shared.prefix(fresh.length), input, projector))
          expect(plain(made)).toEqual(plain(pairToolCalls(project(fresh, input, projector))))
          const listed = pairToolCalls({ ...project(fresh, input, projector) })
          expect(plain(listed)).toEqual(plain(made))
        }
      }),
    )
  })
})

function project(messages: History<Message>, more: Partial<ProjectionInput> = {}, projector = chatProjector): LlmRequest {
  const config = configOf()
  const { systemPrompt, tools } = config
  return projector({
    config,
    systemPrompt,
    tools,
    messages,
    startLength: 0,
    events: History.of([]),
    turnCauses: [],
    iteration: 0,
    useTools: true,
    ...more,
  })
}
