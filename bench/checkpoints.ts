import { chatDriver } from "../src/drivers/chat.ts"
import type { TurnConfig } from "../src/machine/config.ts"
import { chatProjector } from "../src/projectors/chat.ts"
import type { Message } from "../src/schemas/message.ts"
import { Message as MessageSchema } from "../src/schemas/message.ts"
import type { Response } from "../src/schemas/response.ts"
import { TurnMachine } from "../src/validated-turn-machine.ts"
import { type Figure, measureRounds } from "./rounds.ts"
import { CONFIG, responses, START } from "./script.ts"

const TURN_CONFIG: TurnConfig = { ...CONFIG, driver: chatDriver(), projector: chatProjector }

export interface CheckpointFigures {
  readonly messages: number
  readonly bytes: number
  readonly stringify: Figure
  readonly checkpoint: Figure
  readonly parse: Figure
  /** `JSON.parse` of the messages and then their schema: the least work for untrusted input. */
  readonly parseAndValidate: Figure
  /** Its ratio is to `parseAndValidate`. */
  readonly restore: Figure
}

/** Returns a turn with that many messages that waits at a checkpoint, where a host saves. */
function turnOf(messages: number): TurnMachine {
  const machine = new TurnMachine(TURN_CONFIG, START)
  const script: readonly Response[] = responses(messages)
  const drain = (): void => {
    while (machine.poll() !== undefined);
  }
  drain()
  for (const response of script) {
    if (machine.turn.record.messages.length >= messages && machine.outstanding?.type === "checkpoint") break
    machine.handle(response)
    drain()
  }
  return machine
}

export function measureCheckpoints(quick: boolean): readonly CheckpointFigures[] {
  return [10, 100, 1_000, 10_000].map((messages) => {
    const machine = turnOf(messages)
    const transcript: readonly Message[] = machine.messages
    const transcriptText = JSON.stringify(transcript)
    const text = JSON.stringify(machine.checkpoint())
    const rounds = Math.max(quick ? 3 : 15, Math.ceil((quick ? 500 : 20_000) / messages))
    const written = measureRounds(rounds, 1, {
      stringify: () => JSON.stringify(transcript),
      checkpoint: () => JSON.stringify(machine.checkpoint()),
    })
    const parsed = measureRounds(rounds, 1, {
      parse: () => JSON.parse(transcriptText) as unknown,
      parseAndValidate: () => MessageSchema.array().parse(JSON.parse(transcriptText)),
    })
    const { restore } = measureRounds(rounds, 1, {
      parseAndValidate: () => MessageSchema.array().parse(JSON.parse(transcriptText)),
      restore: () => TurnMachine.restore(TURN_CONFIG, text),
    })
    return { messages: transcript.length, bytes: text.length, ...written, ...parsed, restore }
  })
}
