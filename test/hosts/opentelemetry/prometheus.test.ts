import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus"
import { MeterProvider } from "@opentelemetry/sdk-metrics"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { LlmCallError } from "../../../src/hosts/host.ts"
import { openTelemetry } from "../../../src/hosts/opentelemetry/index.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { answer, answers, CONFIG } from "./support.ts"

// The real SDK, its exporter, and Debian's Prometheus (https://packages.debian.org/prometheus), which reads it. `PROMETHEUS` names the program where it is
// not on the path. Without one, the part that needs it is skipped, and fails where CI is true.
const PROGRAM = process.env["PROMETHEUS"] ?? "prometheus"
const HAS_PROGRAM = spawnSync(PROGRAM, ["--version"]).status === 0
const PAGE = readFileSync(fileURLToPath(new URL("../../../docs/telemetry.md", import.meta.url)), "utf8")

interface Point {
  readonly tags: object
  readonly value: number
}

/** The queries of docs/telemetry.md. */
const QUERIES = PAGE.split("\n").flatMap((line) => /^\| [^|`]+ \| `([^`]*\[\d+[mhd]\][^`]*)` \|$/.exec(line)?.[1] ?? [])

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === "object" && address !== null ? address.port : 0
}

let exported: string
let provider: MeterProvider
let telemetry: ReturnType<typeof openTelemetry>

beforeAll(async () => {
  const port = await freePort()
  const exporter = new PrometheusExporter({ host: "127.0.0.1", port })
  exported = `http://127.0.0.1:${port}/metrics`
  provider = new MeterProvider({ readers: [exporter as never] })
  const prices = () => ({ input: 2, cachedInput: 0.5, output: 10 })
  telemetry = openTelemetry({ provider: "openai", agentName: "counter", prices, meter: provider.getMeter("test") })
  await turns()
})

afterAll(() => provider?.shutdown())

/** A turn that succeeds with a tool that fails, one whose model call fails, and a goal. */
async function turns(): Promise<void> {
  const tools = { call: () => Promise.reject(new TypeError("secret")), effects: () => "none" as const }
  await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: answers(answer("count#a"), answer("One.")), tools })
  const failure = { message: "secret", retryable: false, code: "overloaded", terminalReason: "provider_error" } as const
  await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: () => Promise.reject(new LlmCallError(failure)) })
  telemetry.recordGoal([
    { type: "metric", name: "goal.created", value: 1, tags: {} },
    { type: "metric", name: "goal.duration_s", value: 61, tags: { status: "complete" } },
  ])
}

test("the exporter has names, units and tags that Prometheus accepts", async () => {
  const text = await (await fetch(exported)).text()
  const lines = text.split("\n")
  expect(lines).toContain("# TYPE gen_ai_client_inference_usage_input_tokens_total counter")
  expect(lines).toContain("# TYPE gen_ai_invoke_agent_duration histogram")
  expect(lines).toContain("# UNIT gen_ai_invoke_agent_duration s")
  const value = (start: string, ...tags: readonly string[]): number | undefined => {
    const line = lines.find((text) => text.startsWith(`${start}{`) && tags.every((tag) => text.includes(tag)))
    return line === undefined ? undefined : Number(line.split(" ").at(-1))
  }
  const model = 'gen_ai_request_model="m"'
  // Two answers of 30 + 70 and 12 tokens; the failed call counts 0.
  expect(value("gen_ai_client_inference_usage_input_tokens_total", model)).toBe(200)
  expect(value("gen_ai_client_inference_usage_output_tokens_total", model)).toBe(24)
  expect(text).not.toContain("secret")
})

describe.skipIf(!HAS_PROGRAM && process.env["CI"] !== "true")("Prometheus", () => {
  let server: ChildProcess
  let failed: unknown
  let folder: string
  let url: string

  beforeAll(async () => {
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    folder = mkdtempSync(join(tmpdir(), "prometheus-"))
    const target = new URL(exported).host
    writeFileSync(
      join(folder, "prometheus.yml"),
      JSON.stringify({
        global: { scrape_interval: "200ms", scrape_timeout: "200ms" },
        scrape_configs: [{ job_name: "turns", static_configs: [{ targets: [target] }] }],
      }),
    )
    server = spawn(
      PROGRAM,
      [`--config.file=${join(folder, "prometheus.yml")}`, `--storage.tsdb.path=${join(folder, "data")}`, `--web.listen-address=127.0.0.1:${port}`],
      { stdio: "ignore" },
    )
    server.once("error", (error) => {
      failed = error
    })
    await until("up", ({ value }) => value === 1)
    // Rates need points before and after.
    await turns()
    await until("gen_ai_client_inference_usage_output_tokens_total", ({ value }) => value === 48)
  })

  afterAll(async () => {
    if (server?.exitCode === null && server.kill()) await new Promise((resolve) => server.once("exit", resolve))
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  /** Asks until there is a point that `matches`. */
  async function until(query: string, matches: (point: Point) => boolean): Promise<readonly Point[]> {
    for (;;) {
      const points = await ask(query).catch((): readonly Point[] => [])
      if (points.some(matches)) return points
      if (failed !== undefined || server.exitCode !== null) throw new Error(`Prometheus ended with ${server.exitCode}.`, { cause: failed })
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  async function ask(query: string): Promise<readonly Point[]> {
    const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(query)}`)
    const { data, error } = (await response.json()) as {
      readonly data?: { readonly result: readonly { readonly metric: Record<string, string>; readonly value: readonly [number, string] }[] }
      readonly error?: string
    }
    if (data === undefined) throw new Error(error)
    return data.result.map(({ metric: { __name__: _name, ...tags }, value }) => ({ tags, value: Number(value[1]) }))
  }

  test("stores each run of a turn, by error", async () => {
    expect(QUERIES).toHaveLength(6)
    const runs = await ask("sum by (error_type, gen_ai_agent_name, gen_ai_provider_name, gen_ai_request_model) (gen_ai_invoke_agent_duration_count)")
    const turn = { gen_ai_agent_name: "counter", gen_ai_provider_name: "openai", gen_ai_request_model: "m" }
    expect(runs).toHaveLength(2)
    expect(runs).toEqual(
      expect.arrayContaining([
        { tags: turn, value: 2 },
        { tags: { ...turn, error_type: "overloaded" }, value: 2 },
      ]),
    )
  })

  test.each(QUERIES)("answers %s", async (query) => {
    const points = await until(query, ({ value }) => value > 0)
    // A histogram of which nothing is known has the value NaN.
    expect(points.filter(({ value }) => value > 0).length).toBeGreaterThan(0)
  })
})
