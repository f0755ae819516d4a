import { describe, expect, test } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import { type OutputOptions, type OutputSchema, outputOf } from "../../src/drivers/output.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { Thread } from "../../src/hosts/thread/thread.ts"
import { defineOutput } from "../../src/hosts/tools/define-output.ts"
import type { Json } from "../../src/json.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { userMessage } from "../../src/machine/user-message.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { replay } from "../../src/replay/replay.ts"
import { type Answers, answerTo } from "../../src/testing/answers.ts"
import { expectReplays } from "../../src/testing/expect-replays.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { exploreTurn } from "../../src/testing/explore-turn.ts"
import { possibleAnswers } from "../../src/testing/possible-answers.ts"
import { type HostMove, scriptedHost } from "../../src/testing/scripted-host.ts"
import { scriptedModel } from "../../src/testing/scripted-model.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { LlmCall } from "../../src/wire/effect.ts"
import type { OutputPart } from "../../src/wire/llm.ts"
import type { Message } from "../../src/wire/message.ts"
import { openedText } from "../support/stored-text.ts"

/** Written by hand, so that the driver is tested without zod. */
const CITY: OutputSchema<{ readonly city: string }> = {
  name: "city",
  jsonSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  strict: true,
  check(answer) {
    const { city } = (typeof answer === "object" && answer !== null ? answer : {}) as { readonly city?: Json }
    return typeof city === "string" ? { ok: true, value: { city } } : { ok: false, problem: "- city: it must be a text" }
  },
}

const OSLO = '{"city":"Oslo"}'
const LOOK = { name: "look", description: "Looks.", inputSchema: { type: "object", properties: {} } }
const START = { messages: [userMessage("Which city?", { id: "u" })] }
const ACCEPTED = { type: "finished", finish: { type: "submitted_value", value: { city: "Oslo" } } }
const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }

function says(...parts: readonly (string | OutputPart)[]): Answers {
  const all = parts.map((part): OutputPart => (typeof part === "string" ? { type: "text", text: part } : part))
  const text = all.map((part) => (part.type === "text" ? part.text : "")).join("")
  const terminalReason = all.some(({ type }) => type === "tool_call") ? "tool_use" : "stop"
  return { llm: { ok: true, response: { text, parts: all, usage: USAGE, terminalReason } } }
}

function calls(toolName: string, inputJson: string, callId = toolName): OutputPart {
  return { type: "tool_call", callId, toolName, inputJson }
}

const CHECKPOINT: Answers = {}
const LOOKED: Answers = { tools: [{ output: { status: "success", value: "seen" } }] }

/** Plays a turn under the laws: replay, cuts, duplicates, refusals, the prefix of requests. */
function play(options: OutputOptions, answers: readonly Answers[], changes: Partial<TurnConfig> = {}, last: readonly HostMove[] = []) {
  const config: TurnConfig = { driver: chatDriver({ output: CITY, ...options }), projector: chatProjector, model: "m", tools: [LOOK], ...changes }
  const moves = answers.flatMap((given): HostMove[] => [{ type: "poll" }, { type: "answer", answers: given }])
  const turn = expectTurn(config, START, scriptedHost([...moves, { type: "poll" }, ...last]).play(config, START))
  return { ...turn, requests: turn.effects.flatMap((effect) => (effect.type === "llm_call" ? [effect.request] : [])) }
}

function textsOf(messages: readonly Message[]): readonly string[] {
  return messages.map(({ role, parts }) => `${role}: ${parts.map((part) => ("text" in part ? part.text : part.type)).join("|")}`)
}

describe("a final answer that is JSON", () => {
  test("ends the turn with its value, and is stored as it was said", () => {
    const turn = play({}, [says(` ${OSLO}\n`), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
    expect(textsOf(turn.messages)).toEqual(["user: Which city?", `assistant:  ${OSLO}\n`])
    expect(turn.requests.map(({ outputSpec }) => outputSpec)).toEqual([{ type: "json_schema", name: "city", schema: CITY.jsonSchema, strict: true }])
    expect(outputOf(turn, CITY)).toEqual({ city: "Oslo" })
  })

  test("is the value as the model gave it; the value of the program is what the check returns", () => {
    const turn = play({}, [says('{"city":"Oslo","more":[1]}'), CHECKPOINT])
    expect(turn.outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value: { city: "Oslo", more: [1] } } })
    expect(outputOf(turn, CITY)).toEqual({ city: "Oslo" })
  })

  test.each([
    ["in a fence", [`\`\`\`json\n${OSLO}\n\`\`\``]],
    ["in a fence without a name", [`\`\`\`\n${OSLO}\n\`\`\`\n`]],
    ["in a fence whose lines have blanks and line feeds of another system", [`\`\`\`JSON \t\r\n${OSLO}\r\n \t\`\`\``]],
    ["after words in a part of their own", ["I looked it up.", OSLO]],
    ["after several parts", ["I looked it up.", '{"city":"Rome"}', OSLO]],
  ])("may be %s", (_how, parts) => {
    expect(play({}, [says(...parts), CHECKPOINT]).outcome).toEqual(ACCEPTED)
  })

  test.each([
    ["before a fence", [`Here:\n\`\`\`json\n${OSLO}\n\`\`\``]],
    ["after a fence", [`\`\`\`json\n${OSLO}\n\`\`\`\nThat is it.`]],
    ["in a part after it", [OSLO, "That is it."]],
    ["in parts around it", ["Here:", OSLO, "That is it."]],
  ])("is not searched for among words %s", (_where, parts) => {
    expect(play({ maxOutputRepairs: 0 }, [says(...parts)]).outcome).toMatchObject({ stop: { error: { code: "invalid_output" } } })
  })

  test("is asked for beside the tools, and strictly only if the form allows it", () => {
    const { strict: _strict, ...lax } = CITY
    const [request] = play({ output: lax }, [says(OSLO), CHECKPOINT]).requests
    expect(request).toMatchObject({ tools: [LOOK], outputSpec: { type: "json_schema", name: "city", strict: false } })
  })

  test("is not the value of a turn that ended in another way", () => {
    expect(outputOf({}, CITY)).toBeUndefined()
    const finish = { type: "tool_value", toolName: "look", value: { city: "Oslo" } } as const
    expect(outputOf({ outcome: { type: "finished", finish } }, CITY)).toBeUndefined()
    expect(outputOf({ outcome: { type: "finished", finish: { type: "submitted_value", value: { city: 1 } } } }, CITY)).toBeUndefined()
  })

  test("may come after tools, whose requests ask for the same form", () => {
    const turn = play({}, [says(calls("look", "{}")), LOOKED, CHECKPOINT, says(OSLO), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
    expect(new Set(turn.requests.map(({ outputSpec }) => JSON.stringify(outputSpec))).size).toBe(1)
  })

  test("is not the last one if the host delivers more at the checkpoint", () => {
    const more = { userMessages: [userMessage("And now?", { id: "u2" })] }
    const turn = play({}, [says('{"city":"Bergen"}'), { delivery: more }, says(OSLO), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
  })
})

describe("an answer of another form", () => {
  test("is asked for once more: the model reads what is wrong, in a message that stays", () => {
    const turn = play({}, [says('{"town":"Oslo"}'), CHECKPOINT, says(OSLO), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
    expect(textsOf(turn.messages)).toEqual([
      "user: Which city?",
      'assistant: {"town":"Oslo"}',
      'user: The answer does not have the form "city":\n- city: it must be a text\nAnswer once more, with nothing but a JSON object of this form.',
      `assistant: ${OSLO}`,
    ])
    expect(turn.messages[2]?.origin).toEqual({ type: "plugin", pluginId: "output" })
    expect(turn.history).toContainEqual({ type: "protocol", event: { type: "output_rejected", iteration: 0 } })
    expect(turn.requests[1]?.messages).toHaveLength(3)
  })

  test("a second time stops the turn with a stable code, and is stored too", () => {
    const turn = play({}, [says("Oslo."), CHECKPOINT, says('{"city":1}')])
    expect(turn.outcome).toEqual({
      type: "stopped",
      stop: {
        type: "incomplete",
        error: {
          kind: "driver",
          code: "invalid_output",
          userMessage: '2 answers of the model were not accepted. The answer does not have the form "city":\n- city: it must be a text',
        },
      },
    })
    expect(textsOf(turn.messages).at(-1)).toBe('assistant: {"city":1}')
    expect(textsOf(turn.messages)[2]).toMatch(/^user: Your answer is not JSON\. .+\nAnswer once more/)
    expect(outputOf(turn, CITY)).toBeUndefined()
  })

  test("counts although tools ran between", () => {
    const turn = play({}, [says("Oslo."), CHECKPOINT, says(calls("look", "{}")), LOOKED, CHECKPOINT, says("Oslo!")])
    expect(turn.outcome).toMatchObject({ stop: { error: { code: "invalid_output" } } })
  })

  test("does not count before words of the user", () => {
    const more = { userMessages: [userMessage("Say it anew.", { id: "u2" })] }
    const turn = play({}, [says("Oslo."), { delivery: more }, says("Oslo!"), CHECKPOINT, says(OSLO), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
  })

  test("in an earlier turn of the thread does not count", () => {
    const events = [{ type: "protocol", event: { type: "output_rejected", iteration: 0 } }] as const
    const config: TurnConfig = { driver: chatDriver({ output: CITY }), projector: chatProjector, model: "m" }
    const machine = new TurnMachine(config, { ...START, events, iterationOffset: 1 })
    while (machine.poll() !== undefined);
    machine.handle(answerTo(machine.outstanding as LlmCall, says("Oslo.")))
    expect(machine.outcome).toBeUndefined()
    expect(machine.state).toBe("waiting_checkpoint")
  })

  test("is counted by its own records, whatever else the history has", () => {
    const other = [null, 7, "output_rejected", ["output_rejected"], { type: "other", iteration: 0 }, { type: "output_rejected" }]
    const events = [{ type: "output_rejected", iteration: 0 }, ...other].map((event) => ({ type: "protocol", event }) as const)
    const config: TurnConfig = { driver: chatDriver({ output: CITY }), projector: chatProjector, model: "m" }
    for (const [given, state] of [
      [events, "finished"],
      [events.slice(1), "waiting_checkpoint"],
    ] as const) {
      const machine = new TurnMachine(config, { ...START, events: given })
      while (machine.poll() !== undefined);
      machine.handle(answerTo(machine.outstanding as LlmCall, says("Oslo.")))
      expect(machine.state).toBe(state)
    }
  })

  test("counts although a tool returned an image between", () => {
    const attachment = { id: "i", mediaType: "image/png", byteLength: 9 }
    const modelReturn = {
      parts: [
        { type: "text", text: "seen" },
        { type: "attachment", attachment },
      ],
    } as const
    const pictured: Answers = { tools: [{ output: { status: "success", value: "seen" }, modelReturn }] }
    const turn = play({}, [says("Oslo."), CHECKPOINT, says(calls("look", "{}")), pictured, CHECKPOINT, says("Oslo!")])
    expect(turn.messages.some(({ parts }) => parts.some(({ type }) => type === "image"))).toBe(true)
    expect(turn.outcome).toMatchObject({ stop: { error: { code: "invalid_output" } } })
  })

  test.each([
    [0, "The model's answer was not accepted. Your answer is not JSON."],
    [2, "3 answers of the model were not accepted. Your answer is not JSON."],
  ])("is asked for as often as the option says: %i", (maxOutputRepairs, message) => {
    const wrong = Array.from({ length: maxOutputRepairs }, () => [says("Oslo."), CHECKPOINT]).flat()
    const turn = play({ maxOutputRepairs }, [...wrong, says("Oslo.")])
    expect(turn.outcome).toMatchObject({ stop: { type: "incomplete", error: { userMessage: expect.stringContaining(message) } } })
  })

  test("is silence after a tool's result, too", () => {
    const turn = play({}, [says(calls("look", "{}")), LOOKED, CHECKPOINT, says(), CHECKPOINT, says(OSLO), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
    expect(textsOf(turn.messages)).toContainEqual(expect.stringContaining("user: Your answer was empty.\n"))
  })

  test("is not asked for at the turn's limit", () => {
    const turn = play({}, [says("Oslo.")], { maxIterations: 1 })
    expect(turn.outcome).toMatchObject({ stop: { type: "max_iterations" } })
  })
})

describe("the tool submit", () => {
  const tool = { outputMode: "tool" } as const

  test("ends the turn with its arguments, and the request asks for no form", () => {
    const turn = play(tool, [says("Done.", calls("submit", OSLO)), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
    expect(turn.requests[0]?.tools.map(({ name, inputSchema }) => [name, inputSchema])).toEqual([
      ["look", LOOK.inputSchema],
      ["submit", CITY.jsonSchema],
    ])
    expect(turn.requests[0]).not.toHaveProperty("outputSpec")
    expect(textsOf(turn.messages)).toEqual(["user: Which city?", "assistant: Done.|tool_call", "user: The answer was submitted."])
    expect(turn.effects.filter(({ type }) => type === "tool_calls")).toEqual([])
  })

  test.each([
    [
      "of another form",
      '{"city":1}',
      'Nothing was submitted. The answer does not have the form "city":\n- city: it must be a text\nCall submit once more.',
    ],
    ["that are broken", '{"city":', "The call was not run: its arguments cannot be read."],
  ])("refuses arguments %s, once", (_how, inputJson, text) => {
    const again = play(tool, [says(calls("submit", inputJson)), CHECKPOINT, says(calls("submit", OSLO, "b")), CHECKPOINT])
    expect(again.outcome).toEqual(ACCEPTED)
    expect(textsOf(again.messages)[2]).toContain(text)
    const stopped = play(tool, [says(calls("submit", inputJson)), CHECKPOINT, says(calls("submit", '{"city":2}', "b"))])
    expect(stopped.outcome).toMatchObject({ stop: { type: "incomplete", error: { code: "invalid_output" } } })
    expect(textsOf(stopped.messages).at(-1)).not.toContain("once more")
  })

  test("waits for the results of other tools, which is not a wrong answer", () => {
    const both = says(calls("look", "{}"), calls("submit", OSLO))
    const turn = play(tool, [both, LOOKED, CHECKPOINT, both, LOOKED, CHECKPOINT, says(calls("submit", OSLO)), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
    expect(textsOf(turn.messages)[2]).toMatch(/^user: seen\|.*\nNothing was submitted, because other tools were called at the same time/)
  })

  test("counts once if it is called twice", () => {
    const turn = play(tool, [says(calls("submit", OSLO, "a"), calls("submit", '{"city":"Rome"}', "b")), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
    const codes = turn.effects.flatMap((effect) =>
      effect.type === "emit" && effect.event.type === "tool_call" && effect.event.output.status === "failure"
        ? [effect.event.output.failure.code]
        : [],
    )
    expect(codes).toEqual(["submitted_twice"])
  })

  test("is asked for after an answer in words, and an answer that is JSON of the form counts", () => {
    const turn = play(tool, [says("Oslo."), CHECKPOINT, says(OSLO), CHECKPOINT])
    expect(turn.outcome).toEqual(ACCEPTED)
    expect(textsOf(turn.messages)[2]).toBe("user: Your answer was not submitted.\nCall the tool submit with your answer.")
  })

  test("cannot have the name of a tool of the host", () => {
    const turn = play(tool, [], { tools: [LOOK, { ...LOOK, name: "submit" }] })
    expect(turn.outcome).toMatchObject({ stop: { type: "runtime_error", error: { code: "output_tool_taken" } } })
  })

  test("is a tool like any other without the option", () => {
    const turn = play({}, [says(calls("submit", "{}")), LOOKED, CHECKPOINT, says(OSLO), CHECKPOINT], { tools: [{ ...LOOK, name: "submit" }] })
    expect(turn.outcome).toEqual(ACCEPTED)
  })

  test("needs no approval, and is one of the tools beside those of a goal", () => {
    const driver = approvalDriver(goalDriver(chatDriver({ output: CITY, ...tool }), { threadId: "t", turnId: "t1", startedAt: 0 }), {
      policy: () => ({ hold: {} }),
    })
    const turn = play({}, [says(calls("submit", OSLO)), CHECKPOINT], { driver })
    expect(turn.outcome).toEqual(ACCEPTED)
    expect(turn.requests[0]?.tools.map(({ name }) => name)).toContain("submit")
  })
})

describe("the laws hold in every state of a small turn", () => {
  const MINUTES = 300_000
  const explored = (driver: ProtocolDriver, inputs: readonly string[], asTool: boolean) =>
    exploreTurn({
      driver,
      bounds: { iterations: 2, calls: 1, deliveries: 0 },
      answers: (effect, defaults) =>
        effect.type !== "llm_call"
          ? defaults.slice(0, 2)
          : [
              ...possibleAnswers(effect, 0).slice(0, 4),
              ...inputs.map((text) => answerTo(effect, asTool ? says(calls("submit", text, `call_${effect.id}`)) : says(text))),
              answerTo(effect, says(calls("tool", "{}", `tool_${effect.id}`))),
            ],
    })

  test.each([
    ["answer", false],
    ["tool", true],
  ] as const)(
    "with the output as %s",
    (outputMode, asTool) => {
      const { outcomes } = explored(chatDriver({ output: CITY, outputMode }), [OSLO, '{"city":1}', "{"], asTool)
      expect(Object.keys(outcomes)).toEqual(expect.arrayContaining(["finished submitted_value", "stopped incomplete"]))
      expect(Object.keys(outcomes)).not.toContain("finished assistant_message")
    },
    MINUTES,
  )
})

describe("with a host", () => {
  const report = defineOutput({ name: "report", schema: z.object({ city: z.string(), day: z.iso.date().pipe(z.coerce.date()) }) })
  const config: TurnConfig = { driver: chatDriver({ output: report }), projector: chatProjector, model: "m" }
  const WRONG = '{"city":"Oslo"}'
  const READ = { city: "Oslo", day: new Date("2026-11-20") }
  const RIGHT = '{"city":"Oslo","day":"2026-11-20"}'

  test("a turn that is killed after the wrong answer continues with the note, and its journal replays", async () => {
    const store = memoryJournalStore()
    const killed = new Error("killed")
    const first = await TurnJournal.open(store, "turn")
    const dying = scriptedModel([
      WRONG,
      () => {
        throw killed
      },
    ])
    const isFatal = (error: unknown): boolean => error === killed
    await expect(runTurn(await first.begin(config, START, { turnId: "t" }), dying, { journal: first, isFatal })).rejects.toBe(killed)
    await first.close()

    const second = await TurnJournal.open(store, "turn")
    const model = scriptedModel([WRONG, RIGHT])
    const done = await runTurn(await second.resume(config), model, { journal: second })
    await second.close()
    model.check()
    const value: { city: string; day: Date } | undefined = outputOf(done, report)
    expect(value).toEqual(READ)
    expect(model.calls[0]?.request.messages.at(-1)?.blocks).toMatchObject([{ text: expect.stringContaining("- day: ") }])

    const journal = readJournal(await openedText(store, "turn"))
    expect(replay(journal, config).outcome).toEqual(done.outcome)
    expectReplays(journal, config)
  })

  test("a thread's turns end with values", async () => {
    const thread = await Thread.open(memoryJournalStore(), "thread", { config, goals: false })
    const model = scriptedModel([WRONG, RIGHT, RIGHT])
    thread.say("Which city?")
    expect(outputOf(await thread.run(model), report)).toEqual(READ)
    thread.say("Once more.")
    expect(outputOf(await thread.run(model), report)).toEqual(READ)
    await thread.close()
  })
})

describe("options", () => {
  test.each([
    [{ output: z.object({ city: z.string() }) }, "/output", "wrap a zod schema: defineOutput"],
    [{ output: { "~standard": {} } }, "/output", "it is a schema of a library"],
    [{ output: null }, "/output", "it must be an output schema"],
    [{ output: { ...CITY, name: "a city" } }, "/output", "its name must match"],
    [{ output: { ...CITY, name: "x".repeat(65) } }, "/output", "its name must match"],
    [{ output: { ...CITY, name: 7 } }, "/output", "its name must match"],
    [{ output: { ...CITY, jsonSchema: null } }, "/output", "of the type object"],
    [{ output: { ...CITY, jsonSchema: "object" } }, "/output", "of the type object"],
    [{ maxOutputRepairs: -1 }, "/maxOutputRepairs", "at least 0"],
    [{ output: { ...CITY, jsonSchema: { type: "array" } } }, "/output", "of the type object"],
    [{ output: { ...CITY, check: true } }, "/output", "its check must be a function"],
    [{ output: 1 }, "/output", "it must be an output schema"],
    [{ outputMode: "json" }, "/outputMode", `it must be "answer" or "tool"`],
    [{ maxOutputRepairs: Number.NaN }, "/maxOutputRepairs", "at least 0"],
    [{ outputs: CITY }, "/outputs", `did you mean "output"?`],
  ])("that are wrong are refused: %#", (options, path, message) => {
    expect(() => chatDriver(options as never)).toThrow(
      expect.objectContaining({ code: "invalid_config", issues: [{ path, message: expect.stringContaining(message) }] }),
    )
  })
})
