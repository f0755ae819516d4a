import { expect, test } from "vitest"
import { type CodeDriverOptions, codeDriver } from "../../src/drivers/code.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { userMessage } from "../../src/machine/user-message.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { Answers } from "../../src/testing/answers.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { type HostMove, scriptedHost } from "../../src/testing/scripted-host.ts"
import type { TurnStart } from "../../src/wire/config.ts"
import type { LlmResponse, OutputPart } from "../../src/wire/llm.ts"
import type { ExecResponse } from "../../src/wire/tool.ts"
import { RUN, USAGE } from "./code-talk.ts"

const START: TurnStart = { messages: [userMessage("Compute it.", { id: "u" })] }
const CHECKPOINT: Answers = {}

function model(text: string, rest: Partial<LlmResponse> = {}): Answers {
  return { llm: { ok: true, response: { text, parts: [], usage: USAGE, terminalReason: "stop", ...rest } } }
}

function ran(value: Partial<ExecResponse>): Answers {
  return { exec: { ok: true, value: { ...RUN, ...value } } }
}

/** Plays a turn under the laws of `expectTurn`: replay, cuts, duplicates, refusals. */
function play(options: CodeDriverOptions, answers: readonly Answers[], last: readonly HostMove[] = []) {
  const config: TurnConfig = { driver: codeDriver(options), projector: chatProjector, model: "m", maxIterations: 9 }
  const moves = answers.flatMap((given): HostMove[] => [{ type: "poll" }, { type: "answer", answers: given }])
  return expectTurn(config, START, scriptedHost([...moves, { type: "poll" }, ...last]).play(config, START))
}

test.each(["system", "user"] as const)("a turn with repairs, runs, images and a value keeps the laws, with notes as %s", (notesAs) => {
  const reasoning: OutputPart = { type: "reasoning", text: "Hm.", replay: { signature: "s" } }
  const parts: readonly OutputPart[] = [
    reasoning,
    { type: "text", text: "1. ```js\n   pri" },
    { type: "text", text: "nt(1)\n   ```\nand" },
    reasoning,
  ]
  const turn = play({ languages: ["js"], notesAs }, [
    model("```js\nprint(1)"),
    CHECKPOINT,
    model("```js print(1)```"),
    CHECKPOINT,
    model("", { parts }),
    ran({ observations: ["1"], printedImages: [{ id: "i", mediaType: "image/png", byteLength: 1 }], error: "late" }),
    CHECKPOINT,
    model("```js\nsubmit(1)\n```"),
    ran({ terminalFinish: 1 }),
    CHECKPOINT,
  ])
  expect(turn.outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value: 1 } })
})

test("a turn that is cancelled while code runs keeps the laws", () => {
  const turn = play({}, [model("```ts\nx\n```")], [{ type: "cancel" }])
  expect(turn.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  expect(turn.messages.at(-1)?.parts).toMatchObject([{ text: expect.stringContaining("may have taken effect") }])
})

test("a turn whose answer is cut off in its code keeps the laws", () => {
  const turn = play({}, [model("```ts\nx\n```", { terminalReason: "output_limit" })])
  expect(turn.outcome).toMatchObject({ stop: { type: "incomplete" } })
})
