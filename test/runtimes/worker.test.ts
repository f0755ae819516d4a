import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ROOT } from "../built.ts"
import { option, readDoc } from "../docs/blocks.ts"
import { bundleWorker } from "./bundle.ts"
import { startWorkerd, type Workerd } from "./runtimes.ts"
import { installTools } from "./tools.ts"

// The worker of docs/edge.md in workerd, with a model behind HTTP.

const CONFIG = (modelUrl: string): string => `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-04-01",
      bindings = [(name = "MODEL_URL", text = "${modelUrl}"), (name = "MODEL_KEY", text = "key")],
    )),
    (name = "internet", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`

const folder = mkdtempSync(join(tmpdir(), "turn-machine-worker-"))
let missing = ""
let endpoint: Server
let answer: (request: { readonly messages: readonly { readonly role: string }[] }, response: ServerResponse) => void = () => {}
let workerd: Workerd | undefined

beforeAll(async () => {
  const modules = await installTools().catch((error: unknown) => {
    if (process.env["CI"] === "true") throw error
    missing = String(error)
    return undefined
  })
  if (modules === undefined) return
  endpoint = createServer(async (request, response) => {
    let text = ""
    for await (const part of request) text += part
    answer(JSON.parse(text), response)
  })
  await new Promise<void>((resolve) => {
    endpoint.listen(0, "127.0.0.1", resolve)
  })
  const { blocks } = readDoc("docs/edge.md", readFileSync(join(ROOT, "docs/edge.md"), "utf8"))
  const block = blocks.find((candidate) => option(candidate, "file") === "worker.ts")
  writeFileSync(join(folder, "worker.js"), await bundleWorker(block?.text ?? ""))
  const modelUrl = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/v1`
  writeFileSync(join(folder, "config.capnp"), CONFIG(modelUrl))
  workerd = await startWorkerd(folder, "config.capnp", modules)
}, 300_000)

afterAll(async () => {
  await workerd?.stop()
  endpoint?.closeAllConnections()
  endpoint?.close()
  rmSync(folder, { recursive: true, force: true })
})

function chunk(delta: object, reason?: string): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: reason ?? null }] })}\n\n`
}

const CALL = { index: 0, id: "call_1", type: "function", function: { name: "read_temperature", arguments: '{"room":"cellar"}' } }

describe("the worker of docs/edge.md in workerd", () => {
  test("calls its tool, and streams each word before the next one exists", async ({ skip }) => {
    if (workerd === undefined) return skip(missing)
    let next = (): void => {}
    answer = ({ messages }, response) => {
      if (messages.length === 2) return void response.end(`${chunk({ tool_calls: [CALL] })}${chunk({}, "tool_calls")}data: [DONE]\n\n`)
      response.write(chunk({ content: "It has " }))
      next = () => response.end(`${chunk({ content: "12 degrees." })}${chunk({}, "stop")}data: [DONE]\n\n`)
    }
    const response = await fetch(workerd.url, { method: "POST", body: "Is it warm in the cellar?" })
    expect(response.headers.get("content-type")).toBe("text/event-stream")
    let text = ""
    for await (const part of (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream() as never) as AsyncIterable<string>) {
      text += part
      if (text.includes('"It has "')) next()
    }
    const outcomes = text.split("\n").filter((line) => line.includes('"turn_outcome"'))
    expect(outcomes).toEqual([
      'data: {"type":"turn_outcome","outcome":{"type":"finished","finish":{"type":"assistant_message","text":"It has 12 degrees."}}}',
    ])
  })

  test("ends the model call when its client disconnects", async ({ skip }) => {
    if (workerd === undefined) return skip(missing)
    const closed = talksUntilClosed()
    const client = new AbortController()
    const response = await fetch(workerd.url, { method: "POST", body: "Is it warm in the cellar?", signal: client.signal })
    await untilItTalks(response)
    client.abort()
    expect(await closed).toBe("closed")
  })
})

/** Reads a stream up to the first word of the model. */
async function untilItTalks(response: Response): Promise<void> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  for (let text = ""; !text.includes("text_delta"); ) text += new TextDecoder().decode((await reader.read()).value)
}

/** Lets the model talk without an end, and returns when its connection is closed. */
function talksUntilClosed(): Promise<string> {
  return new Promise((resolve) => {
    answer = (_request, response) => {
      const talking = setInterval(() => response.write(chunk({ content: "and " })), 20)
      response.once("close", () => {
        clearInterval(talking)
        resolve("closed")
      })
    }
  })
}
