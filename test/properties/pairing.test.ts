import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { pairToolCalls } from "../../src/drivers/tool-pairs.ts"
import { Joined, withMessages } from "../../src/lazy.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { Block, LlmMessage, LlmRequest } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import { configData, moves, start } from "../../src/testing/arbitraries.ts"
import { firstDifference } from "../../src/testing/difference.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { scriptedHost } from "../../src/testing/scripted-host.ts"
import { REQUEST } from "../machine/support.ts"
import { check, SLOW } from "./check.ts"
import { playWithCrashes, restores } from "./play-with-crashes.ts"

const CHAT = { driver: chatDriver(), projector: chatProjector }

describe("the chat driver and projector", () => {
  test("make only requests in which every call has exactly one result, and every result a call (law 10)", SLOW, () => {
    check(
      150,
      fc.property(configData, start, moves, moves, restores, (data, begin, first, second, restore) => {
        const config = { ...data, ...CHAT }
        const again = (): boolean => restore.next().value === true
        const messages = playWithCrashes(config, begin, first, again, expectPairs)
        // The thread continues after any end of the first turn.
        const asked: Message = { id: "asked", role: "user", parts: [{ id: "asked.p0", type: "text", text: "Go on." }] }
        playWithCrashes(config, { messages: [...messages, asked], iterationOffset: 10 }, second, again, expectPairs)
      }),
    )
  })

  test("pair the messages of a list that grows as the rules say, and as those of a new list", SLOW, () => {
    check(
      2_000,
      fc.property(transcripts, (given) => {
        const storage: LlmMessage[] = []
        for (let length = 0; length <= given.length; length += 1) {
          if (length > 0) storage.push(given[length - 1] as LlmMessage)
          const expected = pairedByTheRules(given.slice(0, length))
          const request = withMessages({ ...REQUEST }, new Joined([{ storage, length }]))
          const grown = pairToolCalls(request)
          expectPairs(grown)
          expect(grown.messages).toEqual(expected)
          expect(pairToolCalls({ ...REQUEST, messages: given.slice(0, length) }).messages).toEqual(expected)
          expect(grown === request).toBe(firstDifference(expected, storage) === undefined)
        }
        // An earlier request is the same after later ones.
        for (let length = given.length; length >= 0; length -= 1) {
          const again = pairToolCalls(withMessages({ ...REQUEST }, new Joined([{ storage, length }])))
          expect(again.messages).toEqual(pairedByTheRules(given.slice(0, length)))
        }
      }),
    )
  })

  test("hold laws 1 to 8", SLOW, () => {
    check(
      30,
      fc.property(configData, start, moves, (data, begin, played) => {
        const config = { ...data, ...CHAT }
        expectTurn(config, begin, scriptedHost(played).play(config, begin))
      }),
    )
  })
})

type ResultBlock = Extract<Block, { type: "tool_result" }>

/** Few ids, so that calls repeat them and results are strays, late, doubled or missing. */
const block: fc.Arbitrary<Block> = fc.oneof(
  fc.constantFrom("a", "b").map((callId): Block => ({ type: "tool_call", callId, toolName: "look", inputJson: "{}" })),
  fc.constantFrom("a", "b").map((callId): Block => ({ type: "tool_result", callId, toolName: "look", text: "" })),
  fc.constant<Block>({ type: "text", text: "" }),
)
/** All results in the next message, where each of both messages may have a block more. */
const usual: fc.Arbitrary<readonly LlmMessage[]> = fc
  .tuple(fc.uniqueArray(fc.constantFrom("a", "b"), { minLength: 1 }), fc.array(block, { maxLength: 1 }), fc.array(block, { maxLength: 1 }))
  .map(([ids, first, second]) => [
    { role: "assistant", blocks: [...ids.map((callId) => ({ type: "tool_call" as const, callId, toolName: "look", inputJson: "{}" })), ...first] },
    {
      role: "user",
      blocks: [...ids.toReversed().map((callId) => ({ type: "tool_result" as const, callId, toolName: "look", text: "" })), ...second],
    },
  ])
/** Results that come one by one, with texts between. */
const apart: fc.Arbitrary<readonly LlmMessage[]> = fc
  .tuple(fc.array(fc.constantFrom("a", "b"), { minLength: 1, maxLength: 2 }), fc.array(fc.constantFrom("a", "b", ""), { maxLength: 3 }))
  .map(([calls, results]) => [
    { role: "assistant", blocks: calls.map((callId) => ({ type: "tool_call", callId, toolName: "look", inputJson: "{}" })) },
    ...results.map((callId): LlmMessage => {
      return { role: "user", blocks: [callId === "" ? { type: "text", text: "" } : { type: "tool_result", callId, toolName: "look", text: "" }] }
    }),
  ])
const odd: fc.Arbitrary<readonly LlmMessage[]> = fc
  .record({
    role: fc.constantFrom("assistant" as const, "assistant" as const, "user" as const, "user" as const, "system" as const),
    blocks: fc.array(block, { minLength: 1, maxLength: 3 }),
  })
  .map((message) => [message])
/** Each result and text names its place, so that no two are equal. */
const transcripts = fc.array(fc.oneof(usual, apart, odd, odd), { maxLength: 6 }).map((lists) =>
  lists.flat().map(({ role, blocks }, place): LlmMessage => {
    return { role, blocks: blocks.map((each, index) => ("text" in each ? { ...each, text: `${place}.${index}` } : each)) }
  }),
)

/**
 * The rules as plainly as they can be written: a call is answered by the results before the next assistant message, in order; these follow it in one
 * message of the user. A message that has exactly the results stays as it is. Every other result is a text, and every other call is left out.
 */
function pairedByTheRules(given: readonly LlmMessage[]): readonly LlmMessage[] {
  const shown: LlmMessage[] = []
  const show = ({ role, blocks }: LlmMessage, isMoved: (result: ResultBlock) => boolean = () => false): void => {
    const left = blocks.flatMap((each): readonly Block[] => {
      if (each.type === "tool_call" && role !== "assistant") return []
      if (each.type !== "tool_result") return [each]
      return isMoved(each) ? [] : [{ type: "text", text: `[Result of an earlier tool call]\n${each.text}` }]
    })
    if (left.length > 0) shown.push({ role, blocks: left })
  }
  for (let index = 0; index < given.length; index += 1) {
    const message = given[index] as LlmMessage
    show(message)
    const calls = message.role === "assistant" ? message.blocks.filter((each) => each.type === "tool_call") : []
    const next = given[index + 1]
    if (calls.length === 0) continue
    const isWhole = next?.role === "user" && callIds(next, "tool_call").length === 0
    if (
      isWhole &&
      callIds(next, "tool_result").toSorted().join() ===
        calls
          .map(({ callId }) => callId)
          .toSorted()
          .join()
    ) {
      shown.push(next)
      index += 1
      continue
    }
    const after = given.slice(index + 1)
    const end = after.findIndex(({ role }) => role === "assistant")
    const rest = end === -1 ? after : after.slice(0, end)
    const found = rest.flatMap(({ blocks }) => blocks.filter((each) => each.type === "tool_result"))
    const used = new Set<ResultBlock>()
    const blocks = calls.map(({ callId, toolName }): ResultBlock => {
      const result = found.find((each) => each.callId === callId && !used.has(each))
      if (result === undefined) return { type: "tool_result", callId, toolName, text: "[No result: the call was interrupted before it ended.]" }
      used.add(result)
      return result
    })
    shown.push({ role: "user", blocks })
    for (const each of rest) show(each, (result) => used.has(result))
    index += rest.length
  }
  return shown
}

function expectPairs({ messages }: LlmRequest): void {
  let open: readonly string[] = []
  for (const message of [...messages, NOTHING]) {
    const calls = callIds(message, "tool_call")
    const results = callIds(message, "tool_result")
    const paired = firstDifference([...results].sort(), [...open].sort()) === undefined
    const fitting = (calls.length === 0 || message.role === "assistant") && (results.length === 0 || message.role === "user")
    if (!paired || !fitting) throw new Error(`Calls and results come apart at ${JSON.stringify(message)} in ${JSON.stringify(messages)}`)
    open = calls
  }
}

const NOTHING: LlmMessage = { role: "user", blocks: [] }

function callIds({ blocks }: LlmMessage, type: "tool_call" | "tool_result"): readonly string[] {
  return blocks.flatMap((block) => (block.type === type ? [block.callId] : []))
}
