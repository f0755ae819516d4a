import * as fc from "fast-check"
import { describe, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { LlmMessage, LlmRequest } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { configData, moves, start } from "../../src/testing/arbitraries.ts"
import { firstDifference } from "../../src/testing/difference.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { type HostMove, inputOf, scriptedHost } from "../../src/testing/scripted-host.ts"
import { give } from "../../src/testing/turn-input.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { check, SLOW } from "./check.ts"

const CHAT = { driver: chatDriver(), projector: chatProjector }
const restores = fc.infiniteStream(fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }))

describe("the chat driver and projector", () => {
  test("make only requests in which every call has exactly one result, and every result a call (law 10)", SLOW, () => {
    check(
      150,
      fc.property(configData, start, moves, moves, restores, (data, begin, first, second, restore) => {
        const config = { ...data, ...CHAT }
        const again = (): boolean => restore.next().value === true
        const messages = play(config, begin, first, again)
        // The thread continues after any end of the first turn.
        const asked: Message = { id: "asked", role: "user", parts: [{ id: "asked.p0", type: "text", text: "Go on." }] }
        play(config, { messages: [...messages, asked], iterationOffset: 10 }, second, again)
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

/** Plays a turn, with a crash wherever `restore` says so, checks every request, and returns the transcript of the turn. */
function play(config: TurnConfig, start: TurnStart, moves: readonly HostMove[], restore: () => boolean): readonly Message[] {
  let machine = new TurnMachine(config, start)
  const answered: Response[] = []
  for (const move of moves) {
    if (restore()) machine = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
    const input = inputOf(move, machine, answered)
    if (input === undefined) continue
    if (input.type !== "poll") give(machine, input)
    for (let left = input.type === "poll" ? (input.most ?? Number.POSITIVE_INFINITY) : 0; left > 0; left -= 1) {
      const effect = machine.poll()
      if (effect === undefined) break
      if (effect.type === "llm_call") expectPairs(effect.request)
    }
    if (input.type === "respond" && input.expect === undefined) answered.unshift(input.response)
  }
  return machine.messages
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
