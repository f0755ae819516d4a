import { readFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, describe, expect, test, vi } from "vitest"
import { listedWindow } from "../../src/cli/model/listed-window.ts"
import { fill, newFolder, type Ran, runCli, serve } from "./harness.ts"

interface Sent {
  readonly url: string
  readonly headers: Headers
  readonly body: { readonly model?: string } | undefined
}

/** Answers in the place of the providers, and lists what would be sent to them. */
function atProviders(): readonly Sent[] {
  const sent: Sent[] = []
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const url = String(input)
    const body = typeof init?.body === "string" ? (JSON.parse(init.body) as Sent["body"]) : undefined
    sent.push({ url, headers: new Headers(init?.headers), body })
    return body === undefined ? new Response("{}", { status: 404 }) : Response.json(answerOf(new URL(url).pathname))
  })
  return sent
}

afterEach(() => {
  vi.restoreAllMocks()
})

const TEXT = "All is well."

/** An answer in the form of the API that a path belongs to, for 1,000 tokens in and 100 out. */
function answerOf(path: string): object {
  if (path.endsWith("/chat/completions"))
    return {
      choices: [{ index: 0, message: { role: "assistant", content: TEXT }, finish_reason: "stop" }],
      usage: { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 },
    }
  if (path.endsWith("/responses")) {
    const item = {
      type: "message",
      id: "msg_1",
      role: "assistant",
      status: "completed",
      content: [{ type: "output_text", text: TEXT, annotations: [] }],
    }
    return {
      id: "resp_1",
      object: "response",
      status: "completed",
      output: [item],
      usage: { input_tokens: 1_000, output_tokens: 100, total_tokens: 1_100 },
    }
  }
  if (path.endsWith("/messages"))
    return {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: "m",
      content: [{ type: "text", text: TEXT }],
      stop_reason: "end_turn",
      usage: { input_tokens: 1_000, output_tokens: 100 },
    }
  return {
    candidates: [{ content: { role: "model", parts: [{ text: TEXT }] }, finishReason: "STOP" }],
    usageMetadata: { promptTokenCount: 1_000, candidatesTokenCount: 100, totalTokenCount: 1_100 },
  }
}

const folder = (): string => fill(newFolder(), { "dir/a.txt": "a" })
const run = (cwd: string, env: Record<string, string>, ...args: readonly string[]): Promise<Ran> =>
  runCli(["run", "--dir", "dir", ...args, "Look."], { cwd, env, columns: 200 })

describe("a model at its provider", () => {
  test.each([
    ["openai", "gpt-5", "OPENAI_API_KEY", "https://api.openai.com/v1/chat/completions", "authorization"],
    ["openai-responses", "gpt-5", "OPENAI_API_KEY", "https://api.openai.com/v1/responses", "authorization"],
    ["anthropic", "claude-opus-5", "ANTHROPIC_API_KEY", "https://api.anthropic.com/v1/messages", "x-api-key"],
    [
      "gemini",
      "gemini-3.5-flash",
      "GEMINI_API_KEY",
      "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse",
      "x-goog-api-key",
    ],
  ])("of %s is called there with the key of its variable", async (provider, model, variable, url, header) => {
    for (const named of [
      ["--model", `${provider}/${model}`],
      ["--provider", provider, "--model", model],
      ["--provider", provider, "--model", `${provider}/${model}`],
    ]) {
      const sent = atProviders()
      const ran = await run(folder(), { [variable]: "key-0123456789", OTHER_API_KEY: "key-of-another" }, ...named)
      expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
      expect(ran.stdout).toContain(TEXT)
      expect(ran.stdout).not.toContain("key-0123456789")
      const call = sent.find(({ body }) => body !== undefined)
      expect(call?.url).toBe(url)
      expect(call?.headers.get(header)).toBe(header === "authorization" ? "Bearer key-0123456789" : "key-0123456789")
      if (provider !== "gemini") expect(call?.body?.model).toBe(model)
      vi.restoreAllMocks()
    }
  })

  test("of Google may have its key in the other variable", async () => {
    const sent = atProviders()
    expect((await run(folder(), { GOOGLE_API_KEY: "key-of-google" }, "--model", "gemini/gemini-3.5-flash")).exitCode).toBe(0)
    expect(sent.at(-1)?.headers.get("x-goog-api-key")).toBe("key-of-google")
    await run(folder(), { GOOGLE_API_KEY: "key-of-google", GEMINI_API_KEY: "key-of-gemini" }, "--model", "gemini/gemini-3.5-flash")
    expect(sent.at(-1)?.headers.get("x-goog-api-key")).toBe("key-of-gemini")
  })

  test("may have its key in a variable that is named", async () => {
    const sent = atProviders()
    await run(folder(), { ANTHROPIC_API_KEY: "key-not-meant", MINE: "key-of-mine" }, "--model", "anthropic/claude-opus-5", "--api-key-env", "MINE")
    expect(sent.at(-1)?.headers.get("x-api-key")).toBe("key-of-mine")
  })

  test.each([
    [
      ["--model", "anthropic/claude-opus-5"],
      "The environment variable ANTHROPIC_API_KEY is not set or is empty. Set it to your key: export ANTHROPIC_API_KEY=…",
    ],
    [["--model", "openai/gpt-5"], "The environment variable OPENAI_API_KEY is not set or is empty."],
    [["--provider", "gemini", "--model", "g"], "The environment variable GEMINI_API_KEY is not set or is empty, nor is GOOGLE_API_KEY."],
    [["--provider", "anthropic"], "--provider anthropic needs the name of a model: --model NAME."],
    [
      ["--provider", "antropic", "--model", "m"],
      '--provider takes openai, openai-responses, anthropic or gemini, not "antropic". Did you mean anthropic?',
    ],
    [["--provider", "ollama", "--model", "m"], "For an OpenAI-compatible endpoint, pass --base-url."],
    [
      ["--model", "mistral/small"],
      "--model mistral/small needs an endpoint: --provider openai|openai-responses|anthropic|gemini, or --base-url URL.",
    ],
    [["--model", "anthropic/"], "--model anthropic/ needs an endpoint"],
    [
      ["--provider", "openai", "--model", "anthropic/claude-opus-5"],
      "--provider openai and --model anthropic/claude-opus-5 name two providers. Omit one of them.",
    ],
  ])("%j is refused before anything is sent", async (args, message) => {
    const sent = atProviders()
    const ran = await run(folder(), { ANTHROPIC_API_KEY: " " }, ...args)
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toContain(message)
    expect(sent).toEqual([])
  })
})

/** An endpoint that has every API, and lists the paths, keys and models of its requests. */
async function anyApi() {
  const requests: { readonly path: string; readonly keys: readonly (string | undefined)[]; readonly model: string | undefined }[] = []
  const url = await serve((body, response, { headers, url: path = "" }) => {
    const keys = [headers.authorization, headers["x-api-key"] as string | undefined, headers["x-goog-api-key"] as string | undefined]
    const { model } = (body === "" ? {} : JSON.parse(body)) as { readonly model?: string }
    if (body !== "") requests.push({ path, keys: keys.filter((key) => key !== undefined), model })
    response.setHeader("content-type", "application/json").end(JSON.stringify(answerOf(new URL(path, "http://h").pathname)))
  })
  return { url, requests }
}

describe("an endpoint of its own", () => {
  const keys = { OPENAI_API_KEY: "key-of-openai", ANTHROPIC_API_KEY: "key-of-anthropic", GEMINI_API_KEY: "key-of-gemini" }

  test("has the API of --provider, and gets no key that was not named for it", async () => {
    const { url, requests } = await anyApi()
    for (const provider of ["openai", "openai-responses", "anthropic", "gemini"])
      expect((await run(folder(), keys, "--base-url", url, "--provider", provider, "--model", "m")).exitCode).toBe(0)
    expect(requests).toEqual([
      { path: "/v1/chat/completions", keys: [], model: "m" },
      { path: "/v1/responses", keys: [], model: "m" },
      { path: "/v1/messages", keys: [], model: "m" },
      { path: "/v1/models/m:streamGenerateContent?alt=sse", keys: [], model: undefined },
    ])
  })

  test("may have models whose names begin like a provider", async () => {
    const { url, requests } = await anyApi()
    const ran = await run(folder(), keys, "--base-url", url, "--model", "anthropic/claude-opus-5", "--api-key-env", "OPENAI_API_KEY")
    expect(ran.exitCode).toBe(0)
    expect(ran.stdout).toContain(`model    anthropic/claude-opus-5 at ${url}\n`)
    expect(ran.stdout).not.toContain("cost")
    expect(requests).toEqual([{ path: "/v1/chat/completions", keys: ["Bearer key-of-openai"], model: "anthropic/claude-opus-5" }])
  })
})

describe("a resumed run", () => {
  /** A run that stopped at its first model call. */
  async function stopped(...model: readonly string[]) {
    const cwd = folder()
    vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response("{}", { status: 404 }))
    const ran = await run(cwd, { ANTHROPIC_API_KEY: "key-0123456789" }, ...model, "--retries", "0", "--state", "run.json")
    expect(ran.exitCode).toBe(1)
    vi.restoreAllMocks()
    return cwd
  }
  const resume = (cwd: string, ...args: readonly string[]): Promise<Ran> =>
    runCli(["resume", "run.json", ...args], { cwd, env: { ANTHROPIC_API_KEY: "key-0123456789" } })

  test.each([
    [[]],
    [["--model", "anthropic/claude-opus-5"]],
    [["--provider", "anthropic"]],
    [["--provider", "anthropic", "--model", "claude-opus-5", "--base-url", "https://api.anthropic.com"]],
  ])("uses its provider, also with %j", async (args) => {
    const cwd = await stopped("--model", "anthropic/claude-opus-5")
    expect(readFileSync(join(cwd, "run.json"), "utf8")).not.toContain("key-0123456789")
    const sent = atProviders()
    expect(await resume(cwd, ...args)).toMatchObject({ exitCode: 0, stderr: "" })
    expect(sent.map(({ url }) => url)).toEqual(["https://api.anthropic.com/v1/messages"])
    expect(sent[0]?.headers.get("x-api-key")).toBe("key-0123456789")
  })

  test.each([
    [["--model", "anthropic/claude-opus-4-8"], "another model (claude-opus-5)"],
    [["--model", "openai/claude-opus-5"], "another provider (anthropic)"],
    [["--provider", "gemini"], "another provider (anthropic)"],
    [["--base-url", "http://127.0.0.1:9/v1"], "another endpoint (https://api.anthropic.com)"],
  ])("refuses %j", async (args, message) => {
    const cwd = await stopped("--model", "anthropic/claude-opus-5")
    const sent = atProviders()
    const ran = await resume(cwd, ...args)
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toContain(message)
    expect(sent).toEqual([])
  })

  test("that the user did not start asks for the provider, too", async () => {
    const cwd = await stopped("--model", "anthropic/claude-opus-5")
    const sent = atProviders()
    const other = { XDG_STATE_HOME: newFolder(), ANTHROPIC_API_KEY: "key-0123456789" }
    const again = (...args: readonly string[]): Promise<Ran> =>
      runCli(["resume", "run.json", "--dir", "dir", "--out", "turn-machine-out", ...args], { cwd, env: other })
    const refused = await again("--model", "claude-opus-5", "--base-url", "https://api.anthropic.com", "--api-key-env", "ANTHROPIC_API_KEY")
    expect(refused).toMatchObject({ exitCode: 2, stdout: "" })
    expect(refused.stderr).toContain("give them again: --provider.")
    expect(refused.stderr).toContain(
      "--base-url https://api.anthropic.com --provider anthropic --model claude-opus-5 --api-key-env ANTHROPIC_API_KEY",
    )
    expect(sent).toEqual([])
    const all = [
      "--provider",
      "anthropic",
      "--model",
      "claude-opus-5",
      "--base-url",
      "https://api.anthropic.com",
      "--api-key-env",
      "ANTHROPIC_API_KEY",
    ]
    expect((await again(...all)).exitCode).toBe(0)
  })
})

describe("costs", () => {
  test("are those of the published prices, at the provider alone", async () => {
    atProviders()
    const ran = await run(folder(), { ANTHROPIC_API_KEY: "k" }, "--model", "anthropic/claude-opus-5")
    expect(ran.stdout).toContain("prices   $5 in, $0.5 cached, $6.25 written to the cache, $25 out per million tokens\n")
    // 1,000 × 5 + 100 × 25 millionths
    expect(ran.stdout).toContain("cost     $0.0075\n")
    const unknown = await run(folder(), { ANTHROPIC_API_KEY: "k" }, "--model", "anthropic/claude-of-tomorrow")
    expect(unknown.exitCode).toBe(0)
    expect(unknown.stdout).not.toMatch(/^(?:cost|prices) /m)
  })

  test("are those of given prices, and are in the last line of --json", async () => {
    const { url } = await anyApi()
    const ran = await run(folder(), {}, "--base-url", url, "--model", "claude-opus-5", "--price", "2,10,0.2", "--json")
    const lines = ran.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object)
    expect(lines[0]).toMatchObject({ prices: { input: 2, output: 10, cachedInput: 0.2 }, provider: "openai" })
    // 1,000 × 2 + 100 × 10 millionths
    expect(lines.at(-1)).toMatchObject({ type: "run_ended", costMicros: 3_000 })
  })

  test("are not shown as nothing where the endpoint reports no tokens", async () => {
    const { usage: _usage, ...answer } = answerOf("/chat/completions") as { readonly usage: object }
    const url = await serve((_body, response) => void response.setHeader("content-type", "application/json").end(JSON.stringify(answer)))
    const priced = ["--base-url", url, "--model", "m", "--price", "1,2"]
    const { stdout } = await run(folder(), {}, ...priced)
    expect(stdout).toContain("\ntokens   not reported\n")
    expect(stdout).not.toContain("cost ")
    const last = (await run(folder(), {}, ...priced, "--json")).stdout.trim().split("\n").at(-1) ?? ""
    expect(JSON.parse(last)).not.toHaveProperty("costMicros")
  })

  test("may differ for tokens that are read from the cache and written to it", async () => {
    const usage = { input_tokens: 1_000, cache_read_input_tokens: 10_000, cache_creation_input_tokens: 500, output_tokens: 100 }
    const url = await serve((_body, response) => {
      response.setHeader("content-type", "application/json").end(JSON.stringify({ ...answerOf("/messages"), usage }))
    })
    const ran = await run(folder(), {}, "--base-url", url, "--provider", "anthropic", "--model", "m", "--price", "5,25,0.5,6.25")
    expect(ran.stdout).toContain("prices   $5 in, $0.5 cached, $6.25 written to the cache, $25 out per million tokens\n")
    // 1,000 × 5 + 10,000 × 0.5 + 500 × 6.25 + 100 × 25 millionths
    expect(ran.stdout).toContain("cost     $0.015625\n")
  })

  test.each(["1", "1,2,3,4,5", "1,2,3,x", "1;2", "1,-2", "1,two", "1,2,", "1e3,2", "$1,$2"])("--price %j is refused", async (price) => {
    const ran = await run(folder(), {}, "--price", price)
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toContain(`such as 1.25,10,0.125, not "${price}".`)
  })

  test("of a goal at its provider are known without prices, and limit it", async () => {
    atProviders()
    const cwd = folder()
    const goal = (...args: readonly string[]): Promise<Ran> => runCli(["goal", ...args], { cwd, env: { OPENAI_API_KEY: "k" }, columns: 200 })
    const ran = await goal("--dir", "dir", "--model", "openai/gpt-5", "--budget-cost", "0.002", "Look.")
    // 1,000 × 1.25 + 100 × 10 millionths
    expect(ran.stdout).toMatch(/used {5}1,100 tokens, \d+ s, \$0\.00225 of \$0\.002, \$0\.00025 over\n/)
    expect((await goal("status")).stdout).toContain("$0.00225 of $0.002, $0.00025 over\n")
    expect((await goal("resume", "--price", "1,1")).stderr).toContain("The goal was started with another price.")
  })

  test("of a goal count its judge's at the judge's prices", async () => {
    const sent = atProviders()
    const cwd = folder()
    const env = { OPENAI_API_KEY: "key-of-openai", ANTHROPIC_API_KEY: "key-of-anthropic" }
    const start = (judge: string): Promise<Ran> =>
      runCli(
        [
          "goal",
          "--dir",
          "dir",
          "--state",
          `st-${judge.length}`,
          "--out",
          `out-${judge.length}`,
          "--model",
          "openai/gpt-5",
          "--judge",
          "freeform",
          "--judge-model",
          judge,
          "--max-continuations",
          "1",
          "--json",
          "Look.",
        ],
        { cwd, env },
      )
    const lines = (await start("anthropic/claude-opus-5")).stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { readonly goal?: object })
    expect(lines[0]).toMatchObject({ judgeProvider: "anthropic", judgeModel: "claude-opus-5", prices: { input: 1.25 }, judgePrices: { input: 5 } })
    const judged = sent.filter(({ url, body }) => body !== undefined && url === "https://api.anthropic.com/v1/messages")
    const worked = sent.filter(({ url, body }) => body !== undefined && url === "https://api.openai.com/v1/chat/completions")
    expect(judged.length).toBeGreaterThan(0)
    expect(judged[0]?.headers.get("x-api-key")).toBe("key-of-anthropic")
    expect(worked[0]?.headers.get("authorization")).toBe("Bearer key-of-openai")
    // A call of gpt-5 costs 2,250 millionths, one of claude-opus-5 7,500.
    expect(lines.at(-1)?.goal).toMatchObject({ costUsedMicros: worked.length * 2_250 + judged.length * 7_500 })
    const unknown = (await start("anthropic/claude-of-tomorrow")).stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { readonly goal?: object })
    expect(unknown[0]).not.toHaveProperty("prices")
    expect(unknown.at(-1)?.goal).toMatchObject({ costUsedMicros: 0 })
  })
})

test("the status of a goal says until when the account is limited", async () => {
  const url = await serve((_body, response) => {
    response.writeHead(429, { "content-type": "application/json", "retry-after": "7200" }).end('{"error":{"message":"Slow down."}}')
  })
  const cwd = folder()
  const goal = (...args: readonly string[]): Promise<Ran> => runCli(["goal", ...args], { cwd, columns: 200 })
  const before = Date.now()
  const ran = await goal("--dir", "dir", "--base-url", url, "--model", "m", "Look.")
  const until = /^until {4}(.+)$/m.exec(ran.stdout)?.[1] ?? "none"
  expect((await goal("status")).stdout).toContain(`\nuntil    ${until}\n`)
  const { until: at } = JSON.parse((await goal("status", "--json")).stdout) as { readonly until: number }
  expect(at).toBeGreaterThanOrEqual(before + 7_200_000)
  expect(at).toBeLessThan(Date.now() + 7_200_000)
})

describe("the context window of a model", () => {
  test.each([
    ["anthropic", "/v1/models/claude-opus-5", { id: "claude-opus-5", max_input_tokens: 1_000_000, max_tokens: 128_000 }, 1_000_000],
    ["gemini", "/v1/models/claude-opus-5", { name: "models/claude-opus-5", inputTokenLimit: 1_048_576, outputTokenLimit: 65_536 }, 1_048_576],
    ["openai-responses", "/v1/models", { data: [{ id: "claude-opus-5", object: "model" }] }, undefined],
  ] as const)("is asked of %s", async (provider, path, body, window) => {
    const asked: (string | undefined)[] = []
    vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
      asked.push(
        new URL(String(input)).pathname,
        new Headers(init?.headers).get(provider === "anthropic" ? "x-api-key" : provider === "gemini" ? "x-goog-api-key" : "authorization") ?? "",
      )
      return Response.json(body)
    })
    expect(await listedWindow({ provider, name: "claude-opus-5", baseUrl: "http://h/v1", apiKey: "k" })).toBe(window)
    expect(asked).toEqual([path, provider === "openai-responses" ? "Bearer k" : "k"])
  })
})
