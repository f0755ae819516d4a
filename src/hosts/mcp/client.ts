import { $ZodLiteral, $ZodObject, $ZodUnknown } from "zod/v4/core"
import { onAbort, timerMs } from "../timers.ts"

/**
 * A connected client of an MCP server: `Client` of `@modelcontextprotocol/client` 2, or of `@modelcontextprotocol/sdk` 1. The type is
 * structural, so that neither is a dependency of this package.
 */
export interface McpClient {
  request(...args: never[]): Promise<unknown>
  callTool(...args: never[]): Promise<unknown>
  setNotificationHandler(...args: never[]): void
  getServerCapabilities(): object | undefined
  getServerVersion(): { readonly name: string; readonly version: string } | undefined
  close(): Promise<void>
  onclose?: (() => void) | undefined
}

/** Whether a value has what {@link McpClient} has. */
export function isClient(value: unknown): value is McpClient {
  if (typeof value !== "object" || value === null) return false
  const names = ["request", "callTool", "setNotificationHandler", "getServerCapabilities", "close"] as const
  return names.every((name) => typeof (value as Partial<McpClient>)[name] === "function")
}

/** The options of one request. */
export interface RequestOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds without an answer or a progress notification. */
  readonly timeoutMs: number
  readonly onProgress?: (progress: unknown) => void
}

/** What a server says it has. */
export interface ServerFeatures {
  readonly tools: boolean
  readonly resources: boolean
  readonly prompts: boolean
}

/** The features of the client that differ between its versions. */
interface ClientOfTwo extends McpClient {
  /** Only version 2 has it. `modern`: revision 2026-07-28 or later of the protocol. */
  getProtocolEra?(): string | undefined
  listen?(filter: { readonly toolsListChanged?: boolean }, options?: object): Promise<unknown>
}

/** The clients accept results by schema. This one accepts any: what a server sends is read by our own rules, one part at a time. */
function anything(): $ZodUnknown {
  return new $ZodUnknown({ type: "unknown" })
}

const LIST_CHANGED = "notifications/tools/list_changed"

/** Version 1 finds the method of a notification in its schema. */
function listChangedSchema(): object {
  return new $ZodObject({ type: "object", shape: { method: new $ZodLiteral({ type: "literal", values: [LIST_CHANGED] }) } })
}

/** Sends a request, and resolves to its result as the server sent it. Aborting the signal sends `notifications/cancelled`. */
export function request(client: McpClient, method: string, params: object, options: RequestOptions): Promise<unknown> {
  const send = client.request as (request: object, schema: object, options: object) => Promise<unknown>
  return withOptions(options, (sdk) => send.call(client, { method, params }, anything(), sdk))
}

/** Calls a tool. Neither version of the client then checks the result against the tool's output schema: it would throw the result away. */
export function callTool(
  client: McpClient,
  params: { readonly name: string; readonly arguments: object },
  inputSchema: object,
  options: RequestOptions,
): Promise<unknown> {
  // Over HTTP, a modern server may require arguments as headers, which only this method sends.
  if ((client as ClientOfTwo).getProtocolEra?.() !== "modern") return request(client, "tools/call", params, options)
  const call = client.callTool as (params: object, options: object) => Promise<unknown>
  return withOptions(options, (sdk) => call.call(client, params, { ...sdk, toolDefinition: { name: params.name, inputSchema } }))
}

/** Performs a request with the options of the clients. Each has a signal of its own: they never remove their listeners from it. */
async function withOptions({ signal, timeoutMs, onProgress }: RequestOptions, send: (sdk: object) => Promise<unknown>): Promise<unknown> {
  const controller = new AbortController()
  const stopWaiting = onAbort(signal, () => controller.abort(signal?.reason))
  try {
    return await send({
      signal: controller.signal,
      timeout: timerMs(timeoutMs),
      resetTimeoutOnProgress: true,
      ...(onProgress !== undefined && { onprogress: onProgress }),
    })
  } finally {
    stopWaiting()
  }
}

/** What the server says it has. A client that is not connected has nothing. */
export function featuresOf(client: McpClient): ServerFeatures {
  const { tools, resources, prompts } = (client.getServerCapabilities() ?? {}) as { readonly [name: string]: unknown }
  return { tools: tools !== undefined, resources: resources !== undefined, prompts: prompts !== undefined }
}

/** Calls back when the server says that its tools changed. Replaces the client's own handler of this notification. */
export function onListChanged(client: McpClient, changed: () => void): void {
  const { getProtocolEra, listen } = client as ClientOfTwo
  const handle = client.setNotificationHandler as (method: string | object, handler: () => void) => void
  handle.call(client, getProtocolEra === undefined ? listChangedSchema() : LIST_CHANGED, changed)
  const { tools } = (client.getServerCapabilities() ?? {}) as { readonly tools?: { readonly listChanged?: boolean } }
  if (getProtocolEra?.call(client) !== "modern" || tools?.listChanged !== true) return
  // A modern server sends it only to those who ask. Without it, the tools are read again after a reconnect.
  listen?.call(client, { toolsListChanged: true }).catch(() => {})
}
