import { expect, test } from "vitest"
import { codeDriver, codeInstructions } from "../../src/drivers/code.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { BASE, RUN, Talk, USAGE } from "./code-talk.ts"

test("the first block of code runs, and its output goes back to the model", () => {
  const talk = new Talk().says("Let me count.\n```ts\nprint(1 + 1)\n```\nIt surely prints 3.")
  expect(talk.machine.outstanding).toEqual({ type: "exec_code", id: 2, code: "print(1 + 1)", language: "ts" })

  talk.gives({ ok: true, value: { ...RUN, observations: ["2", "two"] } }).continues()
  expect(talk.lastTexts(2)).toEqual(["assistant: Let me count.\n```ts\nprint(1 + 1)\n```", "system: Runtime note:\n<output>\n2\ntwo\n</output>"])
  expect(talk.shown().every((message) => message.blocks.length > 0)).toBe(true)
})

test("a submitted value ends the turn with that value", () => {
  const talk = new Talk().says("```js\nsubmit({ sum: 3 })\n```").gives({ ok: true, value: { ...RUN, terminalFinish: { sum: 3 } } })
  expect(talk.machine.outstanding).toMatchObject({ type: "checkpoint", checkpoint: "before_completion" })
  expect(talk.continues().machine.outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value: { sum: 3 } } })
})

test("null can be submitted", () => {
  const talk = new Talk()
    .says("```ts\nsubmit(null)\n```")
    .gives({ ok: true, value: { ...RUN, terminalFinish: null } })
    .continues()
  expect(talk.machine.outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value: null } })
})

test("an answer without code ends the turn with its text, and stays in the transcript", () => {
  const talk = new Talk().says("The sum is 3. See:\n```json\n{}\n```").continues()
  expect(talk.machine.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "The sum is 3. See:\n```json\n{}\n```" } })
  expect(talk.machine.messages.at(-1)?.role).toBe("assistant")
})

test("the model sees an error of its code or of the host, and the turn continues", () => {
  const talk = new Talk()
    .says("```ts\nboom()\n```")
    .gives({ ok: true, value: { ...RUN, observations: ["before"], error: " ReferenceError: boom \n" } })
    .continues()
  expect(talk.lastTexts(1)).toEqual([
    "system: Runtime note:\n<output>\nbefore\n</output>",
    "system: Runtime note:\n<error>\nReferenceError: boom\n</error>",
  ])
  talk.says("```ts\nx\n```").gives({ ok: false, error: "sandbox is gone" }).continues()
  expect(talk.lastTexts(1)).toEqual(["system: Runtime note:\n<error>\nsandbox is gone\n</error>"])
})

test("the model sees that code without output has run", () => {
  const talk = new Talk().says("```ts\nx = 1\n```").gives({ ok: true, value: RUN }).continues()
  expect(talk.lastTexts(1)).toEqual(["system: Runtime note:\n<output>\n[The code ran and printed nothing.]\n</output>"])
})

test("printed images have the user's role, the only one in which models accept them", () => {
  const image = { id: "a1", mediaType: "image/png", byteLength: 9 }
  const talk = new Talk()
    .says("```ts\nplot()\n```")
    .gives({ ok: true, value: { ...RUN, printedImages: [image] } })
    .continues()
  expect(talk.shown().at(-1)).toEqual({ role: "user", blocks: [{ type: "image", attachmentIndex: 0 }] })
})

test.each([
  ["a block that is not closed", "```ts\nprint(1)", "The block of code has no closing fence."],
  ["an empty block", "```ts\n \n```", "The block of code is empty."],
  ["an empty answer", "", "The answer was empty."],
  ["code that is too long", "```ts\n123456\n```", "The block of code has 6 characters; at most 5 are run."],
])("%s does not run: the model gets the reason and answers again", (_what, answer, problem) => {
  const talk = new Talk({ maxCodeChars: 5 }).says(answer).continues()
  expect(talk.effects.some((effect) => effect.type === "exec_code")).toBe(false)
  expect(talk.lastTexts(1).join()).toContain(problem)
  expect(talk.machine.iteration).toBe(1)
})

test("code of the maximum length runs", () => {
  expect(new Talk({ maxCodeChars: 5 }).says("```ts\n12345\n```").machine.outstanding).toMatchObject({ type: "exec_code", code: "12345" })
})

test("a call without a result from another driver appears as interrupted in the request", () => {
  const config = { ...BASE, driver: codeDriver(), projector: chatProjector }
  const call = { id: "a.p0", type: "tool_call", callId: "c", toolName: "look", inputJson: "{}" } as const
  const machine = new TurnMachine(config, { messages: [{ id: "a", role: "assistant", parts: [call] }] })
  while (machine.poll() !== undefined);
  const request = machine.outstanding?.type === "llm_call" ? machine.outstanding.request : undefined
  expect(request?.messages.at(-1)).toMatchObject({ role: "user", blocks: [{ type: "tool_result", callId: "c" }] })
})

test("one malformed answer in a row more than allowed stops the turn as incomplete", () => {
  const talk = new Talk({ maxRepairs: 2 }).says("```ts\na").continues().says("").continues().says("```ts\nb")
  const error = {
    kind: "driver",
    code: "malformed_code",
    userMessage: "3 answers in a row could not be used. The block of code has no closing fence.",
  }
  expect(talk.machine.outcome).toEqual({ type: "stopped", stop: { type: "incomplete", error } })
  const errors = talk.effects.flatMap((effect) => (effect.type === "emit" && effect.event.type === "error" ? [effect.event.envelope?.code] : []))
  expect(errors).toEqual(["malformed_code"])
})

test("a run resets the count of malformed answers", () => {
  const talk = new Talk({ maxRepairs: 1 }).says("```ts\na").continues().says("```ts\nok\n```").gives({ ok: true, value: RUN }).continues()
  talk.says("```ts\nb").continues()
  expect(talk.machine.done).toBe(false)
  expect(talk.says("```ts\nc").machine.done).toBe(true)
})

test("malformed answers of an earlier turn of the thread do not count", () => {
  const earlier = new Talk({ maxRepairs: 1 }).says("```ts\na").continues().says("In words, then.").continues().machine
  const config = { ...BASE, driver: codeDriver({ maxRepairs: 1 }), projector: chatProjector }
  const later = new TurnMachine(config, { messages: earlier.messages, events: earlier.events })
  while (later.poll() !== undefined);
  const response = { text: "```ts\nb", parts: [], usage: USAGE, terminalReason: "stop" } as const
  later.handle({ type: "llm_complete", id: 1, result: { ok: true, response } })
  expect(later.done).toBe(false)
})

test("long observations keep their head and tail", () => {
  const talk = new Talk({ maxObservationChars: 4 })
    .says("```ts\nx\n```")
    .gives({ ok: true, value: { ...RUN, observations: ["abcdefgh"] } })
    .continues()
  expect(talk.lastTexts(1)).toEqual(["system: Runtime note:\n<output>\nab\n\n... (4 chars omitted) ...\n\ngh\n</output>"])
})

test("long errors keep their head and tail", () => {
  const cut = ["system: Runtime note:\n<error>\nab\n\n... (4 chars omitted) ...\n\ngh\n</error>"]
  const talk = new Talk({ maxObservationChars: 4 })
    .says("```ts\nx\n```")
    .gives({ ok: true, value: { ...RUN, error: " abcdefgh\n" } })
    .continues()
  expect(talk.lastTexts(1)).toEqual(cut)
  talk.says("```ts\nx\n```").gives({ ok: false, error: "abcdefgh" }).continues()
  expect(talk.lastTexts(1)).toEqual(cut)
})

test("the iteration limit stops a turn after its code ran, with a message in the transcript", () => {
  const talk = new Talk({}, 1).says("```ts\nx\n```").gives({ ok: true, value: RUN })
  expect(talk.machine.outcome).toEqual({ type: "stopped", stop: { type: "max_iterations" } })
  expect(talk.machine.messages.at(-1)?.id).toMatch(/^m_0_turn_limit_/)
})

test("native tool calls are left out, because they would get no result", () => {
  const talk = new Talk()
  const call = { type: "tool_call", callId: "c", toolName: "t", inputJson: "{}" } as const
  talk
    .answers({
      type: "llm_complete",
      id: 1,
      result: { ok: true, response: { text: "", parts: [call, { type: "text", text: "Done." }], usage: USAGE, terminalReason: "tool_use" } },
    })
    .continues()
  expect(talk.machine.outcome).toMatchObject({ finish: { text: "Done." } })
  expect(JSON.stringify(talk.machine.messages)).not.toContain("tool_call")
})

test("the host chooses the languages; effects name the first one", () => {
  const talk = new Talk({ languages: ["python", "py"] }).says("```ts\nno\n```\n```py\nprint(1)\n```")
  expect(talk.machine.outstanding).toMatchObject({ type: "exec_code", code: "print(1)", language: "python" })
  expect(codeInstructions({ languages: ["python", "py"] })).toContain("`python`")
})

test("the case of a language does not matter", () => {
  const talk = new Talk({ languages: ["JavaScript"] }).says("```JavaScript\nprint(1)\n```")
  expect(talk.machine.outstanding).toMatchObject({ type: "exec_code", code: "print(1)", language: "JavaScript" })
})

test("a turn restored while its code runs returns the code again", () => {
  const talk = new Talk().says("```ts\nprint(1)\n```")
  const config = { ...BASE, driver: codeDriver(), projector: chatProjector }
  const restored = TurnMachine.restore(config, JSON.stringify(talk.machine.checkpoint()))
  expect(restored.poll()).toEqual({ type: "exec_code", id: 2, code: "print(1)", language: "ts" })
})

test("observations, errors and repairs have the user's role if the option says so", () => {
  const talk = new Talk({ languages: ["js"], notesAs: "user" })
    .says("```js\nprint(1)")
    .continues()
    .says("```js\nprint(1)\n```")
    .gives({ ok: true, value: { ...RUN, observations: ["1"], error: "boom" } })
    .continues()
  expect(talk.lastTexts(4)).toEqual([
    "assistant: ```js\nprint(1)",
    "user: <error>\nThe block of code has no closing fence. Nothing was run. Write one block that opens with ```js on a line of its own and closes with ``` on a line of its own, or answer in words without a block of code.\n</error>",
    "assistant: ```js\nprint(1)\n```",
    "user: <output>\n1\n</output>",
    "user: <error>\nboom\n</error>",
  ])
  expect(talk.machine.messages.filter(({ role }) => role === "system")).toEqual([])
})

test("a repair names the language of the block", () => {
  const options = { languages: ["ts", "JavaScript"] }
  const repair = (answer: string): string => new Talk(options).says(answer).continues().lastTexts(1).join()
  expect(repair("```javascript\nx")).toContain("opens with ```JavaScript on")
  expect(repair("Run: ```javascript\nx\n```")).toContain("opens with ```JavaScript on")
  expect(repair("```ts\nx")).toContain("opens with ```ts on")
  expect(repair("")).toContain("opens with ```ts on")
  expect(repair("```\nx\n```")).toContain("opens with ```ts on")
})

test("without repairs, the first malformed answer stops the turn", () => {
  const talk = new Talk({ maxRepairs: 0 }).says("```ts\na")
  const userMessage = "The answer could not be used. The block of code has no closing fence."
  expect(talk.machine.outcome).toEqual({
    type: "stopped",
    stop: { type: "incomplete", error: { kind: "driver", code: "malformed_code", userMessage } },
  })
  expect(talk.effects.filter(({ type }) => type === "llm_call")).toHaveLength(1)
})

test("a run without a submitted value continues the turn; undefined is not a value", () => {
  const talk = new Talk().says("```ts\nsubmit()\n```")
  expect(() => talk.gives({ ok: true, value: { ...RUN, terminalFinish: undefined } as unknown as typeof RUN })).toThrow(/terminalFinish/)
  expect(talk.gives({ ok: true, value: RUN }).continues().machine.outstanding?.type).toBe("llm_call")
})

test.each([0, "", false, null, [], {}])("the submitted value %j ends the turn", (terminalFinish) => {
  const talk = new Talk()
    .says("```ts\nsubmit()\n```")
    .gives({ ok: true, value: { ...RUN, terminalFinish } })
    .continues()
  expect(talk.machine.outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value: terminalFinish } })
})

test("a submitted value counts although the code failed after it; the error stays in the transcript", () => {
  const talk = new Talk()
    .says("```ts\nsubmit(1)\nboom()\n```")
    .gives({ ok: true, value: { ...RUN, terminalFinish: 1, error: "boom" } })
    .continues()
  expect(talk.machine.outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value: 1 } })
  expect(talk.machine.messages.at(-1)?.parts).toMatchObject([{ type: "error", text: "boom" }])
})

test("a submitted value does not end a turn to which something is delivered", () => {
  const talk = new Talk().says("```ts\nsubmit(1)\n```").gives({ ok: true, value: { ...RUN, terminalFinish: 1 } })
  const delivery = { messages: [{ role: "user", content: "And now?" }] } as const
  talk.answers({ type: "checkpoint_delivery", id: talk.machine.outstanding?.id ?? 0, delivery })
  expect(talk.machine.outstanding?.type).toBe("llm_call")
})

test("malformed answers count in a row, whatever else is recorded between them", () => {
  const odd = [null, 7, "code_repair", ["code_repair"], {}, { type: "other", iteration: 0 }, { type: "code_repair" }]
  const talk = new Talk({ languages: ["js"], maxRepairs: 2 })
  for (const state of ["waiting_checkpoint", "waiting_checkpoint", "finished"]) {
    talk.says("```js")
    expect(talk.machine.state).toBe(state)
    talk.answers({ type: "checkpoint_delivery", id: talk.machine.outstanding?.id ?? 4, delivery: { events: odd } })
  }
})

test("malformed answers at the end of an earlier turn do not count", () => {
  const events = [3, 4].map((iteration) => ({ type: "protocol", event: { type: "code_repair", iteration } }) as const)
  const messages = [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Sum the files." }] }] as const
  const config = { ...BASE, driver: codeDriver({ languages: ["js"], maxRepairs: 2 }), projector: chatProjector }
  const machine = new TurnMachine(config, { messages, events, iterationOffset: 5 })
  while (machine.poll() !== undefined);
  const response = { text: "```js", parts: [], usage: USAGE, terminalReason: "stop" } as const
  machine.handle({ type: "llm_complete", id: machine.outstanding?.id ?? 0, result: { ok: true, response } })
  expect(machine.state).toBe("waiting_checkpoint")
})

test("instructions without a language ask for a block without one", () => {
  expect(codeInstructions({ languages: [] })).toContain("write one fenced block of code without a language and end")
  expect(codeInstructions()).toContain("write one fenced block of code marked `ts` and end")
})

test.each([
  [{ unlabelled: "skip" }, "/unlabelled", 'it must be "run", "repair" or "ignore"'],
  [{ notesAs: "assistant" }, "/notesAs", 'it must be "user" or "system"'],
  [{ languages: [], unlabelled: "ignore" }, "/languages", "it is empty, so no block can run"],
  [{ languages: "js" }, "/languages", "it must be a list of texts"],
  [{ languages: ["js", 7] }, "/languages", "it must be a list of texts"],
  [{ maxCodeChars: -1 }, "/maxCodeChars", "it must be a number of at least 0"],
  [{ maxObservationChars: Number.NaN }, "/maxObservationChars", "it must be a number of at least 0"],
  [{ maxRepairs: -1 }, "/maxRepairs", "it must be a number of at least 0"],
])("the options %j are refused", (options, path, problem) => {
  expect(() => codeDriver(options as never)).toThrow(`The options of codeDriver are not valid at ${path}: ${problem}`)
  expect(() => codeDriver(options as never)).toThrow(expect.objectContaining({ code: "invalid_config", issues: [expect.objectContaining({ path })] }))
})
