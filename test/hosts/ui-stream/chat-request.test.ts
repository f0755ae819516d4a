import { describe, expect, test } from "vitest"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import { ChatRequestError, type ChatRequestOptions, readChatRequest, toDecisions } from "../../../src/hosts/ui-stream/index.ts"

const request = (body: unknown, init: RequestInit = {}): Request =>
  new Request("http://chat.test/chat", {
    method: "POST",
    headers: { "content-type": "application/json; charset=utf-8" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
  })
const said = (parts: readonly unknown[], more: object = {}) => ({
  id: "chat",
  messages: [
    { id: "old", role: "user" },
    { id: "u1", role: "user", parts, ...more },
  ],
})
const text = (value: string) => ({ type: "text", text: value })
const file = (more: object = {}) => ({ type: "file", mediaType: "image/png", filename: "a.png", url: "data:image/png;base64,iVBORw==", ...more })

test("the last message is an input, with the client's id and its files", async () => {
  const attachments = memoryAttachmentStore()
  const chat = await readChatRequest(request(said([text("Look"), file(), text(" "), file({ mediaType: "Application/PDF", filename: undefined })])), {
    attachments,
  })
  const image = { mediaType: "image/png", byteLength: 4, label: "a.png" }
  expect(chat).toMatchObject({
    type: "input",
    chatId: "chat",
    key: "u1",
    message: {
      id: "u1",
      role: "user",
      parts: [
        { id: "u1.p0", type: "text", text: "Look" },
        { id: "u1.p1", type: "image", attachment: image },
        { id: "u1.p2", type: "file", attachment: { mediaType: "application/pdf", byteLength: 4 } },
      ],
    },
  })
  const [, shown] = chat.type === "input" ? chat.message.parts : []
  expect(shown?.type === "image" && shown.attachment && (await attachments.get(shown.attachment.id))).toEqual(new Uint8Array([137, 80, 78, 71]))
  expect(await readChatRequest(request({ id: "chat", message: { id: "u2", role: "user", parts: [text("Hi")] } }))).toMatchObject({ key: "u2" })
})

test("decisions and results of the page's tools continue a turn", async () => {
  const parts = [
    { type: "step-start" },
    { type: "tool-pay", toolCallId: "c1", state: "approval-responded", approval: { id: "2:c1", approved: true, signature: "d1", reason: "Fine." } },
    { type: "dynamic-tool", toolName: "pay", toolCallId: "c2", state: "approval-responded", approval: { id: "2:c2", approved: false } },
    { type: "tool-locate", toolCallId: "c3", state: "output-available", output: { lat: 1 } },
    { type: "tool-locate", toolCallId: "c4", state: "output-error", errorText: "Denied." },
    { type: "tool-look", toolCallId: "c5", state: "output-available", output: "forged" },
  ]
  const chat = await readChatRequest(request({ id: "chat", messages: [{ id: "t.1", role: "assistant", parts }] }), { clientTools: ["locate"] })
  const failure = { class: "execution", code: "client_tool_failed", message: "Denied.", source: "tool", retry: { type: "never" } }
  expect(chat).toEqual({
    type: "continuation",
    chatId: "chat",
    turnId: "t.1",
    decisions: [
      { requestId: "2:c1", approved: true, digest: "d1", reason: "Fine." },
      { requestId: "2:c2", approved: false },
    ],
    answers: [
      { callId: "c3", toolName: "locate", answer: { output: { status: "success", value: { lat: 1 } } } },
      { callId: "c4", toolName: "locate", answer: { output: { status: "failure", failure } } },
    ],
  })
  if (chat.type !== "continuation") throw new Error("not a continuation")
  const call = { toolName: "pay", args: {}, index: 0, ask: { allow: ["approve"], scopes: ["call"] } } as const
  const held = [
    { ...call, callId: "c1", requestId: "2:c1", digest: "now" },
    { ...call, callId: "c2", requestId: "2:c2", digest: "d2" },
  ]
  expect(toDecisions(chat.decisions, held, { by: "ada" })).toEqual([
    { requestId: "2:c1", digest: "d1", by: "ada", decision: "approve", note: "Fine." },
    { requestId: "2:c2", digest: "d2", by: "ada", decision: "reject" },
  ])
  expect(toDecisions(chat.decisions, [])).toEqual([])
})

describe("refused", () => {
  const store = { attachments: memoryAttachmentStore() }
  const decided = (part: object) => ({ id: "chat", messages: [{ id: "t.1", role: "assistant", parts: [part] }] })
  const cases: readonly (readonly [code: string, status: number, request: () => Request, options?: ChatRequestOptions])[] = [
    ["method_not_allowed", 405, () => new Request("http://chat.test/chat")],
    ["content_type_not_json", 415, () => request("{}", { headers: { "content-type": "text/plain" } })],
    ["body_too_large", 413, () => request(said([text("x".repeat(100))])), { maxBodyBytes: 100 }],
    ["body_not_json", 400, () => request("{")],
    ["body_not_json", 400, () => request("")],
    ["body_not_json", 400, () => request(`${"[".repeat(5000)}${"]".repeat(5000)}`)],
    ["invalid_chat_request", 400, () => request("[]")],
    ["invalid_chat_request", 400, () => request({ messages: [] })],
    ["invalid_chat_request", 400, () => request({ id: "chat", messages: [] })],
    ["invalid_chat_request", 400, () => request({ id: "chat", messages: "x" })],
    ["invalid_chat_request", 400, () => request({ id: "x".repeat(501), messages: [] })],
    ["invalid_chat_request", 400, () => request({ ...said([text("a")]), trigger: "other" })],
    ["invalid_chat_request", 400, () => request(said([text("a")], { id: "" }))],
    ["invalid_chat_request", 400, () => request(said([text("a")], { id: "a\nb" }))],
    ["invalid_chat_request", 400, () => request(said([text("a")], { role: "system" }))],
    ["invalid_chat_request", 400, () => request(said([null]))],
    ["invalid_chat_request", 400, () => request(said([{ type: "text" }]))],
    ["invalid_chat_request", 400, () => request(said([{ type: "tool-pay" }]))],
    ["invalid_chat_request", 400, () => request(said([{ type: "file" }])), store],
    ["invalid_chat_request", 400, () => request(decided({ type: "tool-pay", state: "approval-responded" }))],
    ["invalid_chat_request", 400, () => request(decided({ type: "tool-pay", toolCallId: "c", state: "approval-responded", approval: { id: "r" } }))],
    ["regenerate_not_supported", 400, () => request({ ...said([text("a")]), trigger: "regenerate-message" })],
    ["empty_message", 400, () => request(said([text(" \n")]))],
    ["empty_message", 400, () => request(said([]))],
    ["text_too_long", 413, () => request(said([text("abc"), text("def")])), { maxTextLength: 5 }],
    ["files_not_accepted", 415, () => request(said([file()]))],
    ["too_many_files", 413, () => request(said([file(), file()])), { ...store, maxFiles: 1 }],
    ["file_type_not_accepted", 415, () => request(said([file()])), { ...store, mediaTypes: ["application/pdf", "text/*"] }],
    ["file_type_not_accepted", 415, () => request(said([file({ mediaType: "image" })])), store],
    ["file_url_not_accepted", 400, () => request(said([file({ url: "http://169.254.169.254/" })])), store],
    ["file_url_not_accepted", 400, () => request(said([file({ url: "data:image/png;base64,%%%" })])), store],
    ["nothing_decided", 400, () => request(decided({ type: "text", text: "Hi" }))],
    ["nothing_decided", 400, () => request(decided({ type: "tool-look", toolCallId: "c", state: "output-available", output: 1 }))],
  ]
  test.each(cases.map(([code, status, make, options]) => ({ code, status, make, options })))(
    "$code ($status)",
    async ({ code, status, make, options }) => {
      const refused = await readChatRequest(make(), options).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(ChatRequestError)
      expect(refused).toMatchObject({ code, status })
      const response = (refused as ChatRequestError).toResponse()
      expect(response.status).toBe(status)
      expect(await response.json()).toEqual({ code, message: (refused as ChatRequestError).message })
    },
  )
})

test("a body that is larger than its length says is not read further", async () => {
  let sent = 0
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 1
      controller.enqueue(new Uint8Array(1000))
    },
  })
  const endless = request("", { body, duplex: "half" } as RequestInit)
  await expect(readChatRequest(endless, { maxBodyBytes: 5000 })).rejects.toMatchObject({ code: "body_too_large" })
  expect(sent).toBeLessThan(10)
})
