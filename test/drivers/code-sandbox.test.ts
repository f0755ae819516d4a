import { createContext, Script } from "node:vm"
import { expect, test } from "vitest"
import { type CodeDriverOptions, codeDriver, codeInstructions } from "../../src/drivers/code.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import type { Json } from "../../src/json.ts"
import { userMessage } from "../../src/machine/user-message.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { type ScriptedModelAnswer, scriptedModel } from "../../src/testing/scripted-model.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { AttachmentRef } from "../../src/wire/message.ts"
import type { ExecResponse } from "../../src/wire/tool.ts"

/** Only this code gets a short time limit: on a busy machine, any other may need long to start. */
const ENDLESS = "for (;;);"

/** Runs scripts in one context of `node:vm`, which keeps the variables between them. It isolates nothing: a test trusts its code. */
class VmSandbox {
  readonly #context = createContext({
    print: (...values: unknown[]) => this.#print(values),
    show: (label: string) => this.#show(label),
    submit: this.#submit,
  })
  #observations: string[] = []
  #images: AttachmentRef[] = []
  #submitted: Json | undefined

  run(code: string): ExecResponse {
    this.#observations = []
    this.#images = []
    this.#submitted = undefined
    let error: string | undefined
    try {
      new Script(code).runInContext(this.#context, { timeout: code === ENDLESS ? 200 : 20_000 })
    } catch (thrown) {
      error = String(thrown)
    }
    return {
      observations: this.#observations,
      toolCalls: [],
      images: [],
      printedImages: this.#images,
      durationMs: 1,
      ...(error !== undefined && { error }),
      ...(this.#submitted !== undefined && { terminalFinish: this.#submitted }),
    }
  }

  #print(values: readonly unknown[]): void {
    this.#observations.push(values.map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(" "))
  }

  #show(label: string): void {
    this.#images.push({ id: `image-${label}`, mediaType: "image/png", byteLength: 4, label })
  }

  /** The first value counts, also where it is undefined: that is null on the wire. */
  get #submit(): (value: Json | undefined) => void {
    return (value) => {
      if (this.#submitted === undefined) this.#submitted = JSON.parse(JSON.stringify(value ?? null)) as Json
    }
  }
}

async function run(replies: readonly ScriptedModelAnswer[], options: CodeDriverOptions = { languages: ["js"] }) {
  const sandbox = new VmSandbox()
  const model = scriptedModel(replies)
  const config = { driver: codeDriver(options), projector: chatProjector, model: "m", systemPrompt: codeInstructions(options), maxIterations: 10 }
  const machine = new TurnMachine(config, { messages: [userMessage("Compute it.")] })
  const result = await runTurn(machine, { llmCall: model.llmCall, code: { run: async ({ code }) => sandbox.run(code) } })
  const notes = result.messages
    .filter(({ id }) => /_(observation|repair)_/.test(id))
    .map(({ parts }) => parts.map((part) => ("text" in part ? part.text : "")).join("|"))
  return { ...result, notes, model }
}

test("code prints, keeps its variables, fails, is corrected and submits", async () => {
  const { outcome, notes } = await run([
    "First:\n\n1. The data.\n\n   ```js\n   var data = [3, 4]\n   print('sum', data.reduce((a, b) => a + b))\n   ```\n2. The rest.",
    "> ```{.js}\n> print(data.length, missing)\n> ```",
    "```js\nprint(data.map((each) => each ** 2))\n",
    "```js\nprint(data.map((each) => each ** 2))\n```",
    "```js\nsubmit({ squares: data.map((each) => each ** 2) })\n```",
  ])
  expect(notes).toEqual([
    "sum 7",
    "ReferenceError: missing is not defined",
    expect.stringMatching(/^The block of code has no closing fence\. Nothing was run\./),
    "[9,16]",
    "[The code ran and printed nothing.]",
  ])
  expect(outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value: { squares: [9, 16] } } })
})

test("code that does not parse, throws after it printed, or does not end reports that", async () => {
  const { outcome, notes } = await run([
    "```js\nlet a = \n```",
    "```js\nprint('a')\nthrow new Error('late')\n```",
    `\`\`\`js\n${ENDLESS}\n\`\`\``,
    "I give up.",
  ])
  expect(notes).toEqual([
    expect.stringMatching(/^SyntaxError/),
    "a|Error: late",
    expect.stringMatching(/^Error: Script execution timed out after 200ms/),
  ])
  expect(outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "I give up." } })
})

test("images that code shows reach the model under the user's role", async () => {
  const { model, messages } = await run(["```js\nprint('a plot')\nshow('plot')\n```", "A line."])
  const request = model.calls[1]?.request
  expect(request?.messages.at(-1)).toEqual({ role: "user", blocks: [{ type: "image", attachmentIndex: 0 }] })
  expect(request?.attachments).toEqual([{ id: "image-plot", mediaType: "image/png", byteLength: 4, label: "plot" }])
  expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "system", "user", "assistant"])
})

test.each([
  ["submit(undefined)", null],
  ["submit()", null],
  ["submit(null)", null],
  ["submit(0); submit(1)", 0],
  ["submit('a'); throw new Error('late')", "a"],
] as const)("%s ends the turn with %j", async (code, value) => {
  const { outcome } = await run([`\`\`\`js\n${code}\n\`\`\``])
  expect(outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value } })
})

test("a host that returns undefined as the submitted value submits nothing", async () => {
  const model = scriptedModel(["```js\nsubmit()\n```", "In words, then."])
  const machine = new TurnMachine(
    { driver: codeDriver({ languages: ["js"] }), projector: chatProjector, model: "m" },
    { messages: [userMessage("Go.")] },
  )
  const run = async (): Promise<ExecResponse> =>
    ({ observations: [], toolCalls: [], images: [], printedImages: [], durationMs: 1, terminalFinish: undefined }) as unknown as ExecResponse
  const { outcome } = await runTurn(machine, { llmCall: model.llmCall, code: { run } })
  expect(outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "In words, then." } })
})

test("with notes as user messages, the system prompt stays the only system message", async () => {
  const { model } = await run(["```js\nprint(1)\n", "```js\nprint(1)\nnope\n```", "It is 1."], { languages: ["js"], notesAs: "user" })
  const roles = model.calls.map(({ request }) => request.messages.map(({ role }) => role).join())
  expect(roles).toEqual(["system,user", "system,user,assistant,user", "system,user,assistant,user,assistant,user"])
  expect(model.calls[2]?.request.messages.at(-1)?.blocks).toEqual([
    { type: "text", text: "<output>\n1\n</output>" },
    { type: "text", text: "<error>\nReferenceError: nope is not defined\n</error>" },
  ])
})
