import { getEventListeners } from "node:events"
import { describe, expect, test } from "vitest"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import type { EffectContext, ToolAnswer } from "../../../src/hosts/host.ts"
import { type McpToolbox, type McpToolboxOptions, mcpToolbox } from "../../../src/hosts/mcp/index.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import { ECHO, FakeServer, serverWith } from "./fake-server.ts"

const CALL = { callId: "c1", args: {} }

function contextOf(more: Partial<EffectContext> = {}): EffectContext {
  return { effectId: 1, idempotencyKey: "turn:1:c1", signal: new AbortController().signal, emit: () => {}, ...more }
}

async function call(box: McpToolbox, toolName: string, args: object = {}, context = contextOf()): Promise<ToolAnswer> {
  return box.call({ ...CALL, toolName, args: args as never }, context)
}

/** The code of a failed call. */
function codeOf({ output }: ToolAnswer): string | undefined {
  return output.status === "failure" ? output.failure.code : undefined
}

describe.each([1, 2] as const)("with version %i of the client", (version) => {
  const open = async (server: FakeServer, options: McpToolboxOptions = {}) => mcpToolbox(await server.connect(version), options)
  const reopen = async (server: FakeServer, options: McpToolboxOptions = {}) => mcpToolbox(() => server.connect(version), options)

  test("a tool is shown with its hints as the last line of its description", async () => {
    const box = await open(serverWith([{ ...ECHO, annotations: { readOnlyHint: true, openWorldHint: false } }]), { prefix: "fake" })
    expect(box.specs).toEqual([
      {
        name: "fake__echo",
        description: "Echoes.\n[MCP fake: read-only, closed-world]",
        inputSchema: { type: "object", properties: { text: { type: "string" } } },
      },
    ])
    expect(box.server).toMatchObject({ name: "fake", version: "1.2.3" })
  })

  test("the server receives its own name and the arguments as they are", async () => {
    const server = serverWith([{ ...ECHO, name: "a.b" }], ({ arguments: args }) => ({ content: [{ type: "text", text: JSON.stringify(args) }] }))
    const box = await open(server, { prefix: "x" })
    const [{ name: shown } = { name: "" }] = box.specs
    expect(shown).toMatch(/^x__a_b_[0-9a-f]{8}$/)
    const args = JSON.parse('{"text":"hi","__proto__":{"x":1}}') as object
    const answer = await call(box, shown, args)
    expect(answer).toEqual({ output: { status: "success", value: '{"text":"hi","__proto__":{"x":1}}' } })
    expect(server.sent("tools/call")[0]?.params?.["name"]).toBe("a.b")
  })

  test("all pages are read, and the tools are in the order of their names", async () => {
    const pages: { readonly [cursor: string]: object } = {
      "": { tools: [{ ...ECHO, name: "zeta" }], nextCursor: "2" },
      "2": { tools: [{ ...ECHO, name: "alpha" }], nextCursor: "3" },
      "3": { tools: [{ ...ECHO, name: "mid" }] },
    }
    const server = serverWith([])
    server.methods["tools/list"] = ({ cursor = "" }) => pages[cursor as string]
    const box = await open(server)
    expect(box.specs.map(({ name }) => name)).toEqual(["alpha", "mid", "zeta"])
  })

  test("text, image, resource and link keep their order, and bytes are stored", async () => {
    const attachments = memoryAttachmentStore()
    const content = [
      { type: "text", text: "one" },
      { type: "image", data: btoa("PNG"), mimeType: "image/png" },
      { type: "resource", resource: { uri: "file:///a.txt", mimeType: "text/plain", text: "inside" } },
      { type: "resource", resource: { uri: "file:///b.bin", blob: btoa("BIN") } },
      { type: "resource_link", uri: "file:///c", name: "c", mimeType: "text/plain" },
      { type: "audio", data: btoa("WAV"), mimeType: "audio/wav" },
      { type: "text", text: "two" },
    ]
    const box = await open(
      serverWith([ECHO], () => ({ content })),
      { attachments },
    )
    const answer = await call(box, "echo")
    const parts = answer.modelReturn?.parts ?? []
    expect(parts.map((part) => (part.type === "text" ? part.text : part.attachment.mediaType))).toEqual([
      "one",
      "image/png",
      "[Resource file:///a.txt]\ninside",
      "application/octet-stream",
      "[Resource file:///c: c, text/plain]",
      "audio/wav",
      "two",
    ])
    const [, image] = parts
    const bytes = image?.type === "attachment" ? await attachments.get(image.attachment.id) : undefined
    expect(new TextDecoder().decode(bytes)).toBe("PNG")
    expect(answer.output.status === "success" && JSON.stringify(answer.output.value)).not.toContain(btoa("PNG"))
  })

  test("without a store, a line says what was left out", async () => {
    const content = [
      { type: "image", data: btoa("PNG"), mimeType: "image/png" },
      { type: "image", data: "%%%", mimeType: "image/png" },
    ]
    const answer = await call(await open(serverWith([ECHO], () => ({ content }))), "echo")
    expect(answer.modelReturn?.parts).toEqual([
      { type: "text", text: "[Image, image/png: 3 bytes that are not shown, because the host stores no attachments]" },
      { type: "text", text: "[Image, image/png: its data is not base64]" },
    ])
  })

  test("structured content is the value, and is shown once", async () => {
    const structuredContent = { b: 1, a: [2] }
    const tool = { ...ECHO, outputSchema: { type: "object", properties: { b: { type: "number" } } } }
    const repeated = await open(serverWith([tool], () => ({ content: [{ type: "text", text: '{"a":[2],"b":1}' }], structuredContent })))
    expect(await call(repeated, "echo")).toEqual({
      output: { status: "success", value: { b: 1, a: [2] } },
      modelReturn: { parts: [{ type: "text", text: '{"a":[2],"b":1}' }] },
    })
    expect(repeated.specs[0]?.outputSchema).toEqual(tool.outputSchema)
    for (const [said, wrapped] of [
      ["plain", { result: "plain" }],
      ["[1,2]", { result: [1, 2] }],
    ] as const) {
      const box = await open(serverWith([tool], () => ({ content: [{ type: "text", text: said }], structuredContent: wrapped })))
      expect((await call(box, "echo")).modelReturn?.parts).toEqual([{ type: "text", text: said }])
    }
    const other = await open(serverWith([tool], () => ({ content: [{ type: "text", text: "done" }], structuredContent })))
    expect((await call(other, "echo")).modelReturn).toEqual({
      parts: [
        { type: "text", text: "done" },
        { type: "text", text: '{"b":1,"a":[2]}' },
      ],
    })
  })

  test("structured content that does not match the output schema is not thrown away: the tool has run", async () => {
    const tool = { ...ECHO, outputSchema: { type: "object", properties: { n: { type: "number" } }, required: ["n"] } }
    const box = await open(serverWith([tool], () => ({ content: [], structuredContent: { n: "many" } })))
    expect((await call(box, "echo")).output).toEqual({ status: "success", value: { n: "many" } })
  })

  test("isError is a failure that the model reads, with its attachments", async () => {
    const attachments = memoryAttachmentStore()
    const content = [
      { type: "text", text: "No such file." },
      { type: "image", data: btoa("PNG"), mimeType: "image/png" },
    ]
    const { output } = await call(
      await open(
        serverWith([ECHO], () => ({ isError: true, content })),
        { attachments },
      ),
      "echo",
    )
    expect(output).toMatchObject({
      status: "failure",
      failure: { class: "execution", code: "mcp_tool_error", message: "No such file.", source: "tool" },
    })
    expect(output.status === "failure" && output.failure.raw).toEqual([{ $attachment: expect.objectContaining({ mediaType: "image/png" }) }])
  })

  test.each([
    [-32_602, "invalid_request", "mcp_invalid_params"],
    [-32_603, "external", "mcp_server_error"],
    [-32_000, "external", "mcp_server_error"],
    [42, "external", "mcp_server_error"],
  ] as const)("the error %i of the server is a failure", async (code, type, ours) => {
    const box = await open(serverWith([ECHO], () => ({ error: { code, message: "broken", data: { why: "so" } } })))
    expect((await call(box, "echo")).output).toEqual({
      status: "failure",
      failure: { class: type, code: ours, message: "broken", source: "tool", retry: { type: "never" }, raw: { code, data: { why: "so" } } },
    })
  })

  test("progress becomes events of the call", async () => {
    const server = serverWith([ECHO], async (params, self) => {
      const { progressToken } = params["_meta"] as { readonly progressToken: number }
      self.notify("notifications/progress", { progressToken, progress: 1, total: 2, message: "half" })
      self.notify("notifications/progress", { progressToken, progress: 2, total: 2 })
      await new Promise((resolve) => setTimeout(resolve, 20))
      return { content: [] }
    })
    const events: TurnEvent[] = []
    await call(await open(server), "echo", {}, contextOf({ emit: (event) => events.push(event) }))
    expect(events).toEqual([
      { type: "tool_progress", callId: "c1", name: "echo", progress: 1, total: 2, message: "half" },
      { type: "tool_progress", callId: "c1", name: "echo", progress: 2, total: 2 },
    ])
  })

  test("an abort cancels the call at the server", async () => {
    const server = serverWith([ECHO], () => undefined)
    const box = await open(server)
    const controller = new AbortController()
    const answer = call(box, "echo", {}, contextOf({ signal: controller.signal }))
    await expect.poll(() => server.sent("tools/call").length, { timeout: 10_000 }).toBe(1)
    controller.abort(new Error("enough"))
    await expect(answer).rejects.toThrow("enough")
    await expect.poll(() => server.sent("notifications/cancelled").length, { timeout: 10_000 }).toBe(1)
    expect(server.sent("notifications/cancelled")[0]?.params?.["requestId"]).toBe(server.sent("tools/call")[0]?.id)
  })

  test("a deadline cancels the call, and says that it may have run", async () => {
    const server = serverWith([ECHO], () => undefined)
    const { output } = await call(await open(server, { timeoutMs: 50 }), "echo")
    expect(output).toMatchObject({
      status: "failure",
      failure: { class: "timeout", code: "tool_timeout", message: expect.stringMatching(/within 50 ms.*It may have taken effect/) },
    })
    await expect.poll(() => server.sent("notifications/cancelled").length, { timeout: 10_000 }).toBe(1)
  })

  test("a changed list is read at the next refresh, and not before", async () => {
    const tools = [ECHO]
    const server = serverWith(tools)
    const box = await open(server)
    const before = box.specs
    await box.refresh()
    expect(server.sent("tools/list")).toHaveLength(1)
    tools.push({ ...ECHO, name: "more" })
    server.notify("notifications/tools/list_changed")
    await expect.poll(() => box.refresh().then(() => box.specs.length), { timeout: 10_000 }).toBe(2)
    expect(server.sent("tools/list")).toHaveLength(2)
    expect(before.map(({ name }) => name)).toEqual(["echo"])
  })

  test("a list that the server announces and does not send is waited for once, and the tools stay", async () => {
    const server = new FakeServer({
      "tools/list": () => (isHanging ? undefined : { tools: [ECHO] }),
      "tools/call": () => ({ content: [{ type: "text", text: "heard" }] }),
    })
    let isHanging = false
    const box = await mcpToolbox(() => server.connect(version), { timeoutMs: 2_000 })
    isHanging = true
    server.notify("notifications/tools/list_changed")
    // The notification comes a little later.
    await expect.poll(() => box.refresh().catch(({ code }) => code), { timeout: 20_000 }).toBe("list_failed")
    for (let asked = 0; asked < 3; asked += 1) {
      expect((await call(box, "echo")).output).toEqual({ status: "success", value: "heard" })
      await expect(box.refresh()).rejects.toMatchObject({ code: "list_failed" })
    }
    expect(server.sent("tools/list")).toHaveLength(2)
    // A new connection is asked at once.
    isHanging = false
    server.die()
    await box.refresh()
    expect(server.sent("tools/list")).toHaveLength(3)
  })

  test("a list that is announced as changed and is the same is the same object", async () => {
    const server = serverWith([ECHO])
    const box = await open(server)
    const before = box.specs
    server.notify("notifications/tools/list_changed")
    await expect.poll(() => box.refresh().then(() => server.sent("tools/list").length), { timeout: 10_000 }).toBe(2)
    expect(box.specs).toBe(before)
  })

  test("a call of a tool that vanished is answered, and the server is not asked", async () => {
    let tools: readonly object[] = [ECHO, { ...ECHO, name: "other" }]
    const server = serverWith([])
    server.methods["tools/list"] = () => ({ tools })
    const box = await open(server)
    tools = [{ ...ECHO, name: "other" }]
    server.notify("notifications/tools/list_changed")
    await expect.poll(() => box.refresh().then(() => box.specs.length), { timeout: 10_000 }).toBe(1)
    const { output } = await call(box, "echo")
    expect(output).toMatchObject({
      failure: { code: "unknown_tool", message: 'The MCP server no longer has the tool "echo". Its tools are now: other.' },
    })
    expect(server.sent("tools/call")).toEqual([])
  })

  test("a call of a tool that is gone, or that this process never knew, may have begun: it keeps its effects", async () => {
    let tools: readonly object[] = [ECHO, { ...ECHO, name: "read", annotations: { readOnlyHint: true } }]
    const server = serverWith([])
    server.methods["tools/list"] = () => ({ tools })
    const box = await open(server)
    tools = []
    server.notify("notifications/tools/list_changed")
    await expect.poll(() => box.refresh().then(() => box.specs.length), { timeout: 10_000 }).toBe(0)
    expect(["echo", "read", "other"].map((toolName) => box.effects({ ...CALL, toolName }))).toEqual(["once", "none", "once"])
  })

  test("calls leave nothing behind at the signal of their run", async () => {
    const box = await open(serverWith([ECHO]))
    const { signal } = new AbortController()
    for (let index = 0; index < 20; index += 1) await call(box, "echo", {}, contextOf({ signal }))
    expect(getEventListeners(signal, "abort")).toEqual([])
  })

  test("a call of a tool that changed since the model was shown it does not run", async () => {
    const server = serverWith([ECHO], () => ({ content: [{ type: "text", text: "ran" }] }))
    const box = await open(server)
    const shown = box.specs
    server.methods["tools/list"] = () => ({ tools: [{ ...ECHO, description: "Deletes everything." }] })
    server.notify("notifications/tools/list_changed")
    const turn = { tools: shown } as unknown as NonNullable<EffectContext["turn"]>
    await expect.poll(async () => codeOf(await call(box, "echo", {}, contextOf({ turn }))), { timeout: 10_000 }).toBe("tool_changed")
    await box.refresh()
    const now = { tools: box.specs } as unknown as NonNullable<EffectContext["turn"]>
    expect((await call(box, "echo", {}, contextOf({ turn: now }))).output).toEqual({ status: "success", value: "ran" })
  })

  describe("a connection that is lost during a call", () => {
    const READ = { ...ECHO, name: "read", annotations: { readOnlyHint: true } }
    const dying = (): { readonly server: FakeServer; readonly deaths: () => number } => {
      let deaths = 0
      const server = serverWith([ECHO, READ], (_params, self) => {
        if (deaths > 0) return { content: [{ type: "text", text: "again" }] }
        deaths += 1
        self.die()
        return undefined
      })
      return { server, deaths: () => deaths }
    }

    test("a read-only call is sent again over a new connection", async () => {
      const { server } = dying()
      const box = await reopen(server)
      expect((await call(box, "read")).output).toEqual({ status: "success", value: "again" })
      expect(server.connections).toBe(2)
    })

    test("any other call is not: its outcome is unknown", async () => {
      const { server, deaths } = dying()
      const box = await reopen(server)
      expect((await call(box, "echo")).output).toMatchObject({ failure: { class: "internal", code: "outcome_unknown", retry: { type: "never" } } })
      expect(deaths()).toBe(1)
      expect((await call(box, "echo")).output).toEqual({ status: "success", value: "again" })
      expect(server.connections).toBe(2)
    })

    test("a client that was passed is not replaced", async () => {
      const { server } = dying()
      const box = await open(server)
      expect(codeOf(await call(box, "read"))).toBe("mcp_connection_lost")
      expect((await call(box, "read")).output).toMatchObject({ failure: { code: "mcp_not_connected", retry: { type: "safe" } } })
      await expect(box.refresh()).rejects.toMatchObject({ code: "connect_failed" })
    })

    test("a server that cannot be reached says why, as far as the causes do", async () => {
      const refused = new AggregateError([new Error("connect ECONNREFUSED 127.0.0.1:9")], "")
      const failing = mcpToolbox(() => Promise.reject(new TypeError("fetch failed", { cause: refused })))
      const message = "The MCP server cannot be reached: fetch failed: connect ECONNREFUSED 127.0.0.1:9"
      await expect(failing).rejects.toMatchObject({ code: "connect_failed", message })
    })

    test("a server that stays away does not end a turn: its calls fail", async () => {
      const { server } = dying()
      let isAway = false
      const box = await mcpToolbox(async () => {
        if (isAway) throw new Error("ECONNREFUSED")
        return server.connect(version)
      })
      isAway = true
      const { output } = await call(box, "read")
      expect(output).toMatchObject({ failure: { code: "mcp_connection_lost" } })
      const { output: next } = await call(box, "read")
      expect(next).toMatchObject({ failure: { code: "mcp_not_connected", message: expect.stringContaining("ECONNREFUSED") } })
    })
  })

  test("close ends the client of a connect function, and not one that was passed", async () => {
    const server = serverWith([ECHO])
    const client = await server.connect(version)
    let closed = 0
    client.onclose = () => {
      closed += 1
    }
    const passed = await mcpToolbox(client)
    await passed.close()
    expect(closed).toBe(0)
    const own = await mcpToolbox(() => client)
    await own.close()
    await own.close()
    expect(closed).toBe(1)
    expect(codeOf(await call(own, "echo"))).toBe("mcp_not_connected")
  })

  test("resources and prompts are tools behind an option", async () => {
    const server = serverWith([ECHO], undefined, {
      "resources/list": () => ({ resources: [{ uri: "mem://1", name: "one" }], nextCursor: "n" }),
      "resources/templates/list": () => ({ resourceTemplates: [{ uriTemplate: "mem://{id}", name: "t" }] }),
      "resources/read": ({ uri }) => ({ contents: [{ uri, text: "inside" }] }),
      "prompts/list": () => ({ prompts: [{ name: "greet" }] }),
      "prompts/get": ({ arguments: args }) => ({
        messages: [{ role: "user", content: { type: "text", text: `Hello ${(args as { readonly who: string }).who}` } }],
      }),
    })
    server.capabilities = { tools: {}, resources: {}, prompts: {} }
    expect((await open(server)).specs.map(({ name }) => name)).toEqual(["echo"])
    const box = await open(server, { resources: true, prompts: true, prefix: "m" })
    expect(box.specs.map(({ name }) => name)).toEqual(["m__list_resources", "m__read_resource", "m__list_prompts", "m__get_prompt", "m__echo"])
    const value = async (name: string, args: object) => {
      const { output } = await call(box, name, args)
      return output.status === "success" ? output.value : output
    }
    expect(await value("m__list_resources", { cursor: "c" })).toEqual({ resources: [{ uri: "mem://1", name: "one" }], nextCursor: "n" })
    expect(server.sent("resources/list")[0]?.params).toMatchObject({ cursor: "c" })
    expect(await value("m__list_resources", { templates: true })).toEqual({ resourceTemplates: [{ uriTemplate: "mem://{id}", name: "t" }] })
    expect(await value("m__read_resource", { uri: "mem://1" })).toBe("[Resource mem://1]\ninside")
    expect(await value("m__list_prompts", {})).toEqual({ prompts: [{ name: "greet" }] })
    expect((await call(box, "m__get_prompt", { name: "greet", arguments: { who: "Ada" } })).modelReturn?.parts).toEqual([
      { type: "text", text: "user:" },
      { type: "text", text: "Hello Ada" },
    ])
    expect(codeOf(await call(box, "m__read_resource", { uri: 1 }))).toBe("invalid_arguments")
    expect(box.effects({ ...CALL, toolName: "m__read_resource" })).toBe("none")
  })

  test("a server without the tools capability has no tools, and is not asked", async () => {
    const server = serverWith([ECHO])
    server.capabilities = {}
    expect((await open(server)).specs).toEqual([])
    expect(server.sent("tools/list")).toEqual([])
  })

  test("meta is sent with the call, beside the progress token", async () => {
    const server = serverWith([ECHO])
    await call(await open(server, { meta: ({ idempotencyKey }) => ({ "example.com/key": idempotencyKey ?? null }) }), "echo")
    expect(server.sent("tools/call")[0]?.params?.["_meta"]).toMatchObject({ "example.com/key": "turn:1:c1", progressToken: expect.anything() })
  })
})
