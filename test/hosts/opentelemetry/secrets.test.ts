import vm from "node:vm"
import { describe, expect, test } from "vitest"
import { codeDriver } from "../../../src/drivers/code.ts"
import { type Host, LlmCallError, ToolError } from "../../../src/hosts/host.ts"
import type { OpenTelemetryOptions } from "../../../src/hosts/opentelemetry/index.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { answer, answers, CONFIG, type Watched, watch } from "./support.ts"

/** All that was recorded of spans, as text. */
function recorded({ spans }: Watched): string {
  return JSON.stringify(spans().map(({ name, attributes, events, status, links }) => ({ name, attributes, events, status, links })))
}

function exceptions({ spans }: Watched, name: string): readonly unknown[] {
  return spans()
    .filter((span) => span.name === name)
    .flatMap(({ events }) => events.map(({ attributes }) => attributes))
}

async function ofTool(error: unknown, options: Partial<OpenTelemetryOptions> = {}): Promise<Watched> {
  const watched = watch(options)
  const tools: NonNullable<Host["tools"]> = { call: () => Promise.reject(error), effects: () => "idempotent" }
  await watched.telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: answers(answer("count#a"), answer("Done.")), tools })
  return watched
}

async function ofCode(run: NonNullable<Host["code"]>["run"]): Promise<Watched> {
  const watched = watch()
  const llmCall = answers(answer("```ts\nsecret()\n```"), answer("Done."))
  await watched.telemetry.runTurn(new TurnMachine({ ...CONFIG, tools: [], driver: codeDriver() }, START), { llmCall, code: { run } })
  return watched
}

describe("an error without its message", () => {
  test("has its name and the places in its stack", async () => {
    const watched = await ofTool(new TypeError("secret\n    at secret (secret.ts:1:1)"))
    const [exception] = exceptions(watched, "execute_tool count") as readonly Record<string, string>[]
    expect(exception?.["exception.type"]).toBe("TypeError")
    expect(exception).not.toHaveProperty("exception.message")
    expect(exception?.["exception.stacktrace"]).toMatch(/^ {4}at .*secrets\.test\.ts:\d+:\d+\)?$/m)
    // The name of this file is in the frames; the message is not.
    expect(recorded(watched).replaceAll("secrets.test.ts", "")).not.toContain("secret")
    expect(watched.span("execute_tool count").status.message).toBeUndefined()
  })

  test.each<[string, () => unknown]>([
    ["a message that was changed after it was thrown", () => Object.assign(new Error("secret\n    at secret (secret.ts:1:1)"), { message: "" })],
    ["a stack of its own", () => Object.assign(new Error("x"), { stack: "secret\n    at f (secret.ts:1:1)" })],
    ["a name of its own", () => Object.assign(new Error("x"), { name: "the secret name", stack: "" })],
    ["a source line in its stack", () => syntaxError()],
    ["a text", () => "secret"],
    ["an object", () => ({ message: "secret" })],
    ["a classified failure", () => new ToolError({ class: "timeout", code: "a secret code", message: "secret" })],
    ["a cause", () => new Error("x", { cause: new Error("secret") })],
  ])("says nothing of %s", async (_what, error) => {
    const watched = await ofTool(error())
    expect(recorded(watched).replaceAll("secrets.test.ts", "")).not.toContain("secret")
  })

  test("says nothing of code: neither what it threw nor where", async () => {
    const thrown = await ofCode(async ({ code }) =>
      vm.runInNewContext(`function secret() { const e = new Error("secret"); e.name = "secret"; throw e }; ${code}`),
    )
    expect(recorded(thrown).replaceAll("secrets.test.ts", "")).not.toContain("secret")
    expect(exceptions(thrown, "execute_tool exec_code")).toEqual([{ "exception.type": "executor_threw" }])
    const told = await ofCode(async () => ({
      observations: ["secret"],
      toolCalls: [],
      images: [],
      printedImages: [],
      durationMs: 1,
      error: "secret is not defined",
    }))
    expect(recorded(told)).not.toContain("secret")
    expect(exceptions(told, "execute_tool exec_code")).toEqual([{ "exception.type": "code_failed" }])
  })

  test("says nothing of what a provider wrote, also of a retry", async () => {
    const watched = watch()
    const failure = {
      message: "Your prompt 'secret' was refused.",
      retryable: false,
      code: "invalid_prompt",
      terminalReason: "provider_error",
    } as const
    await watched.telemetry.runTurn(new TurnMachine(CONFIG, START), {
      llmCall: async (_effect, { emit }) => {
        const envelope = { kind: "llm_provider", code: "secret code", userMessage: "secret" }
        emit({ type: "retry_status", waitSeconds: 1, attempt: 1, maxAttempts: 2, reason: "secret", envelope })
        throw new LlmCallError(failure)
      },
    })
    expect(recorded(watched).replaceAll("secrets.test.ts", "")).not.toContain("secret")
    expect(watched.tree()).toBe("\ninvoke_agent !invalid_prompt\n  chat m !invalid_prompt\n")
  })
})

test("an answer with a reason that no wire has does not say it", async () => {
  const watched = watch()
  const llmCall = async () => ({ ...answer("One."), terminalReason: "the secret reason" as never })
  await watched.telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall })
  expect(recorded(watched)).not.toContain("secret")
  expect(watched.span("chat m").attributes["gen_ai.response.finish_reasons"]).toEqual(["_OTHER"])
})

test.each<Partial<OpenTelemetryOptions>>([{ captureErrorMessages: true }, { captureContent: true }])(
  "with %j, messages are recorded",
  async (options) => {
    const watched = await ofTool(new TypeError("secret"), options)
    expect(exceptions(watched, "execute_tool count")).toMatchObject([{ "exception.type": "TypeError", "exception.message": "secret" }])
    expect(watched.span("execute_tool count").status.message).toBe("secret")
  },
)

test("messages of errors can be left out while content is recorded", async () => {
  const watched = await ofTool(new TypeError("secret"), { captureContent: true, captureErrorMessages: false })
  expect(watched.span("execute_tool count").attributes["gen_ai.tool.call.arguments"]).toBe('{"n":1}')
  expect(watched.span("execute_tool count").status.message).toBeUndefined()
})

/** An error whose stack begins with the source that could not be read. */
function syntaxError(): unknown {
  try {
    return new vm.Script("let secret = = 1", { filename: "tool.js" })
  } catch (error) {
    return error
  }
}
