import { expect, test } from "vitest"
import { advance, begin, command, handle } from "../../src/machine/step.ts"
import type { Turn } from "../../src/machine/turn.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { callsTools, completed, configOf, delivers, effectNames, plain, pollAll, results, says, set, userMessage } from "../machine/support.ts"

const CONFIG = configOf()

function texts(turn: Turn): readonly string[] {
  return turn.record.messages
    .toArray()
    .flatMap(({ parts }) => parts.flatMap((part) => ("text" in part && part.text !== undefined ? [part.text] : [])))
}

test("an old turn value can be continued again, and its second future sees nothing of the first", () => {
  const started = advance(CONFIG, begin(CONFIG, { messages: [userMessage("Heads or tails?")] }).turn).turn
  const heads = handle(CONFIG, started, says(1, "Heads."))
  const tails = handle(CONFIG, started, says(1, "Tails."))
  const headsEnd = handle(CONFIG, heads.turn, delivers(2))
  const tailsEnd = handle(CONFIG, tails.turn, delivers(2))

  expect(texts(started)).toEqual(["Heads or tails?"])
  expect(texts(headsEnd.turn)).toEqual(["Heads or tails?", "Heads."])
  expect(texts(tailsEnd.turn)).toEqual(["Heads or tails?", "Tails."])
  expect(effectNames(headsEnd.effects)).toEqual(effectNames(tailsEnd.effects))
  expect(started.position.state.type).toBe("waiting_llm")
})

test("the same step repeated gives the same effects", () => {
  const { turn } = advance(CONFIG, begin(CONFIG, { messages: [userMessage("Look.")] }).turn)
  const response = callsTools(1, ["a", ""])
  expect(plain(handle(CONFIG, turn, response))).toEqual(plain(handle(CONFIG, turn, response)))
  expect(plain(advance(CONFIG, turn))).toEqual({ turn: plain(turn), effects: [], status: "accepted" })
})

test("many futures of one past value: each sees only its own messages", () => {
  let turn = advance(CONFIG, begin(CONFIG, { messages: [userMessage("Look.")] }).turn).turn
  turn = handle(CONFIG, turn, callsTools(1, ["a"])).turn
  const futures = Array.from({ length: 5 }, (_, index) => {
    const answered = handle(CONFIG, turn, results(2, completed("a", `result ${index}`))).turn
    const delivered = handle(CONFIG, answered, delivers(3, { userMessages: [userMessage(`message ${index}`, `u${index}`)] })).turn
    return advance(CONFIG, delivered)
  })
  futures.forEach((future, index) => {
    expect(texts(future.turn)).toEqual(["Look.", `result ${index}`, `message ${index}`])
    const call = future.effects.find((effect) => effect.type === "llm_call")
    expect(JSON.stringify(call?.request.messages.slice(2))).toBe(
      JSON.stringify([
        { role: "user", blocks: [{ type: "tool_result", callId: "a", toolName: "look", text: `result ${index}` }] },
        { role: "user", blocks: [{ type: "text", text: `message ${index}` }] },
      ]),
    )
  })
})

test("a request that was projected before a turn grew does not change", () => {
  const first = advance(CONFIG, begin(CONFIG, { messages: [userMessage("Look.")] }).turn)
  const call = first.effects.find((effect) => effect.type === "llm_call")
  const later = handle(CONFIG, first.turn, says(1, "Seen."))
  handle(CONFIG, later.turn, delivers(2, { userMessages: [userMessage("More!", "u2")] }))
  expect(plain(call?.request.messages)).toEqual([{ role: "user", blocks: [{ type: "text", text: "Look." }] }])
  const [, progress] = later.effects.filter((effect) => effect.type === "progress" || effect.type === "emit").slice(-2)
  expect(plain(progress)).toMatchObject({ type: "progress", messages: [{ id: "u1" }, { id: "m_0_assistant_1" }] })
})

test("a cancelled future does not cancel the past", () => {
  const { turn } = advance(CONFIG, begin(CONFIG, { messages: [userMessage("Look.")] }).turn)
  expect(command(CONFIG, turn, { type: "cancel" }).turn.position.state.type).toBe("finished")
  expect(handle(CONFIG, turn, says(1, "Still here.")).status).toBe("accepted")
})

test("an old checkpoint is restored again and again, and edited before that", () => {
  const machine = new TurnMachine(CONFIG, { messages: [userMessage("Look.")] })
  pollAll(machine)
  const saved = plain(machine.checkpoint())
  for (const text of ["One.", "Two."]) {
    const restored = TurnMachine.restore(CONFIG, saved)
    restored.handle(says(1, text))
    expect(texts(restored.turn)).toEqual(["Look.", text])
  }
  set("/messages/0/parts/0/text", "Listen.")(saved)
  expect(texts(TurnMachine.restore(CONFIG, saved).turn)).toEqual(["Listen."])
  expect(texts(machine.turn)).toEqual(["Look."])
})
