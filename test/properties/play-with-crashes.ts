import * as fc from "fast-check"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { type HostMove, inputOf } from "../../src/testing/scripted-host.ts"
import { give } from "../../src/testing/turn-input.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"

/** Whether the turn is saved and restored before each move. */
export const restores: fc.Arbitrary<IterableIterator<boolean>> = fc.infiniteStream(
  fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
)

/** Plays a turn, with a crash wherever `restore` says so, hands each request to `onRequest`, and returns the transcript of the turn. */
export function playWithCrashes(
  config: TurnConfig,
  start: TurnStart,
  moves: readonly HostMove[],
  restore: () => boolean,
  onRequest: (request: LlmRequest, machine: TurnMachine) => void,
): readonly Message[] {
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
      if (effect.type === "llm_call") onRequest(effect.request, machine)
    }
    if (input.type === "respond" && input.expect === undefined) answered.unshift(input.response)
  }
  return machine.messages
}
