import * as fc from "fast-check"
import { describe, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { History } from "../../src/machine/history.ts"
import { advance, begin, command, handle } from "../../src/machine/step.ts"
import { outstandingEffect, type Step, type Turn } from "../../src/machine/turn.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { AnswerableEffect } from "../../src/schemas/effect.ts"
import type { Message } from "../../src/schemas/message.ts"
import { type Answers, answerTo } from "../../src/testing/answers.ts"
import { answers, callbacks, configData, script, start } from "../../src/testing/arbitraries.ts"
import { describeDifference, differenceOfTexts } from "../../src/testing/difference.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import { check, SLOW } from "./check.ts"

// The functional core: a turn is a value, and many turns may grow from one.

const given = fc.array(answers, { minLength: 2, maxLength: 8 })

describe("every earlier turn value can be continued, at any time and in any order", () => {
  test("with scripted drivers", SLOW, () => {
    check(
      80,
      fc.property(configData, start, script, callbacks, given, answers, (data, begin, lists, optional, played, others) => {
        const driver = scriptedDriver(lists, { callbacks: optional })
        travel({ ...data, driver, projector: chatProjector }, begin, played, others)
      }),
    )
  })

  test("with the chat driver and projector, which remember what they rendered", SLOW, () => {
    check(
      80,
      fc.property(configData, start, given, answers, (data, begin, played, others) => {
        travel({ ...data, driver: chatDriver(), projector: chatProjector }, begin, played, others)
      }),
    )
  })
})

/** A step of a turn: its origin, its input and its result. */
interface Passage {
  readonly from: Turn
  readonly go: (turn: Turn) => Step
  readonly came: string
}

/** Runs a turn, then repeats every step, the last first, each after steps into another future. */
function travel(config: TurnConfig, start: TurnStart, played: readonly Answers[], others: Answers): void {
  const passages: Passage[] = []
  let { turn } = begin(config, start)
  const take = (go: (turn: Turn) => Step): void => {
    const step = go(turn)
    passages.push({ from: turn, go, came: textOf(step) })
    turn = step.turn
  }
  for (const answers of played) {
    take((from) => advance(config, from))
    for (const part of partsOf(turn)) {
      const response = answerTo(part, answers)
      take((from) => handle(config, from, response))
    }
  }
  take((from) => command(config, from, { type: "cancel", reason: "enough" }))

  for (const { from, go, came } of passages.reverse()) {
    goElsewhere(config, from, others)
    const difference = differenceOfTexts(textOf(go(from)), came)
    if (difference !== undefined) throw new Error(`Taken again, a step led elsewhere: ${describeDifference(difference)}`)
  }
}

/** Appends other messages to an old turn, to test the data that it shares with later ones. */
function goElsewhere(config: TurnConfig, from: Turn, others: Answers): void {
  const said: Message = { id: "elsewhere", role: "user", parts: [{ id: "elsewhere.p0", type: "text", text: "elsewhere" }] }
  let { turn } =
    from.position.state.type === "finished" ? { turn: from } : command(config, from, { type: "apply", actions: [append(said), append(said)] })
  turn = advance(config, turn).turn
  for (const part of partsOf(turn)) turn = handle(config, turn, answerTo(part, others)).turn
  textOf(advance(config, turn))
}

function append(message: Message): DriverAction {
  return { type: "append_events", events: [{ type: "conversation", message }] }
}

/** Answers to the outstanding effect; for a batch, to its first call and then to the others. */
function partsOf({ position }: Turn): readonly AnswerableEffect[] {
  const effect = outstandingEffect(position.state)
  if (effect?.type !== "tool_calls" || effect.calls.length < 2) return effect === undefined ? [] : [effect]
  return [
    { ...effect, calls: effect.calls.slice(0, 1) },
    { ...effect, calls: effect.calls.slice(1) },
  ]
}

function textOf(step: Step): string {
  return JSON.stringify(step, (_key, value: unknown) => (value instanceof History ? [...value] : value))
}
