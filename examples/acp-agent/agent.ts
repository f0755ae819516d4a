import { randomUUID } from "node:crypto"
import { stat } from "node:fs/promises"
import { isAbsolute, resolve } from "node:path"
import {
  type AgentApp,
  type AgentContext,
  agent,
  type ClientCapabilities,
  type InitializeResponse,
  type McpServer,
  methods,
  PROTOCOL_VERSION,
  RequestError,
  type SessionInfo,
} from "@agentclientprotocol/sdk"
import { JournalStoreError } from "turn-machine/hosts"
import { Thread, threadEvents } from "turn-machine/hosts/thread"
import { connectServers } from "./mcp-servers.ts"
import type { Model } from "./models.ts"
import { Session, titleOf } from "./session.ts"
import type { Storage } from "./storage.ts"

export interface AgentOptions {
  readonly storage: Storage
  readonly model: Model
}

/** An agent for one connection. */
export interface AcpAgent {
  readonly app: AgentApp
  /** Closes all sessions. Open turns stay open, and are continued when their sessions are loaded. */
  close(): Promise<void>
}

interface Place {
  readonly sessionId: string
  readonly cwd: string
  readonly mcpServers?: readonly McpServer[]
}

const PAGE = 50
const INITIALIZED: InitializeResponse = {
  protocolVersion: PROTOCOL_VERSION,
  agentInfo: { name: "turn-machine-acp-agent", title: "turn-machine", version: "0.1.0" },
  agentCapabilities: {
    loadSession: true,
    promptCapabilities: { image: true, embeddedContext: true },
    mcpCapabilities: { http: true },
    sessionCapabilities: { list: {}, resume: {}, close: {}, delete: {} },
  },
  authMethods: [],
}

/** Makes the agent of a connection: `acpAgent(options).app.connect(stream)`. */
export function acpAgent({ storage, model }: AgentOptions): AcpAgent {
  const sessions = new Map<string, Promise<Session>>()
  let capabilities: ClientCapabilities = {}

  /** Opens a session that is not open yet. */
  async function open(client: AgentContext, { sessionId, cwd, mcpServers = [] }: Place): Promise<Session> {
    const known = sessions.get(sessionId)
    const opening = (async () => {
      await (await known?.catch(() => undefined))?.close()
      const { toolboxes, problems } = await connectServers(mcpServers, cwd, storage.attachments)
      for (const problem of problems) console.error(`${sessionId}: ${problem}`)
      try {
        return await Session.open({ cwd, side: { sessionId, client, capabilities }, storage, model, servers: toolboxes })
      } catch (error) {
        await Promise.all(toolboxes.map((toolbox) => toolbox.close()))
        throw error
      }
    })()
    sessions.set(sessionId, opening)
    opening.catch(() => sessions.delete(sessionId))
    return opening
  }

  async function get(sessionId: string): Promise<Session> {
    const session = sessions.get(sessionId)
    if (session === undefined) throw RequestError.sessionNotFound(sessionId)
    return session
  }

  /** Opens a session that is stored, and sends what it has if `isShown`. */
  async function restore(client: AgentContext, place: Place, isShown: boolean) {
    await checkFolder(place.cwd)
    const stored = await storedFolder(storage, place.sessionId)
    if (stored === undefined) throw RequestError.sessionNotFound(place.sessionId)
    if (resolve(stored) !== resolve(place.cwd))
      throw RequestError.invalidParams({ cwd: place.cwd }, `The session belongs to another folder, ${stored}.`)
    const session = await open(client, place)
    if (isShown) await session.replay()
    else await session.skipReplay()
    afterAnswer(() => session.begin())
    return { modes: session.modes }
  }

  const app = agent({ name: "turn-machine-acp-agent" })
    .onRequest(methods.agent.initialize, ({ params }) => {
      capabilities = params.clientCapabilities ?? {}
      return INITIALIZED
    })
    .onRequest(methods.agent.session.new, ({ params, client }) =>
      answering(async () => {
        await checkFolder(params.cwd)
        const session = await open(client, { ...params, sessionId: randomUUID() })
        afterAnswer(() => session.begin())
        return { sessionId: session.thread.threadId, modes: session.modes }
      }),
    )
    .onRequest(methods.agent.session.load, ({ params, client }) => answering(() => restore(client, params, true)))
    .onRequest(methods.agent.session.resume, ({ params, client }) => answering(() => restore(client, params, false)))
    .onRequest(methods.agent.session.list, ({ params }) => answering(() => list(storage, params.cwd ?? undefined, params.cursor ?? undefined)))
    .onRequest(methods.agent.session.prompt, ({ params }) => answering(async () => (await get(params.sessionId)).prompt(params.prompt)))
    .onRequest(methods.agent.session.setMode, ({ params }) =>
      answering(async () => {
        ;(await get(params.sessionId)).setMode(params.modeId)
        return {}
      }),
    )
    .onRequest(methods.agent.session.close, ({ params: { sessionId } }) =>
      answering(async () => {
        const session = await get(sessionId)
        await session.cancel()
        await session.close()
        sessions.delete(sessionId)
        return {}
      }),
    )
    .onRequest(methods.agent.session.delete, ({ params: { sessionId } }) =>
      answering(async () => {
        const session = await sessions.get(sessionId)
        await session?.close()
        sessions.delete(sessionId)
        await Thread.delete(storage.store, sessionId)
        return {}
      }),
    )
    .onNotification(methods.agent.session.cancel, async ({ params }) => (await sessions.get(params.sessionId))?.cancel())

  return {
    app,
    async close() {
      await Promise.allSettled([...sessions.values()].map(async (session) => (await session).close()))
      sessions.clear()
    },
  }
}

/** The folder of a stored session. `undefined`: there is no such session. */
async function storedFolder({ store }: Storage, sessionId: string): Promise<string | undefined> {
  for await (const { threadId, meta, error } of Thread.list(store, { prefix: sessionId })) {
    if (threadId !== sessionId) continue
    if (error !== undefined) throw error
    return folderIn(meta)
  }
  return undefined
}

/** The newest sessions first. */
async function list({ store }: Storage, cwd: string | undefined, cursor: string | undefined) {
  const from = Number(cursor ?? "0")
  if (!Number.isInteger(from) || from < 0) throw RequestError.invalidParams({ cursor }, "The cursor is not one of this agent.")
  const all: { readonly sessionId: string; readonly cwd: string; readonly at: number }[] = []
  for await (const { threadId, meta, updatedAt, error } of Thread.list(store)) {
    const folder = error === undefined ? folderIn(meta) : undefined
    if (folder !== undefined && (cwd === undefined || resolve(cwd) === resolve(folder)))
      all.push({ sessionId: threadId, cwd: folder, at: updatedAt ?? 0 })
  }
  const page = all.toSorted((one, other) => other.at - one.at).slice(from, from + PAGE)
  const sessions = await Promise.all(
    page.map(async ({ at, ...session }): Promise<SessionInfo> => {
      const title = await titleIn(store, session.sessionId)
      return { ...session, updatedAt: new Date(at).toISOString(), ...(title !== undefined && { title }) }
    }),
  )
  return { sessions, ...(from + PAGE < all.length && { nextCursor: String(from + PAGE) }) }
}

/** The first words of the user. */
async function titleIn(store: Storage["store"], sessionId: string): Promise<string | undefined> {
  for await (const event of threadEvents(store, sessionId))
    if (event.type === "input_queued") return titleOf(event.message.parts.map((part) => (part.type === "text" ? part.text : "")).join(" "))
  return undefined
}

function folderIn(meta: unknown): string | undefined {
  return typeof meta === "object" && meta !== null && "cwd" in meta && typeof meta.cwd === "string" ? meta.cwd : undefined
}

async function checkFolder(cwd: string): Promise<void> {
  if (!isAbsolute(cwd)) throw RequestError.invalidParams({ cwd }, `cwd must be an absolute path, not "${cwd}".`)
  const facts = await stat(cwd).catch(() => undefined)
  if (facts?.isDirectory() !== true) throw RequestError.invalidParams({ cwd }, `There is no folder ${cwd}.`)
}

/** Errors of the agent's own are answered with what a user can act on. Others stay in the log. */
async function answering<Answer>(work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof RequestError) throw error
    if (error instanceof JournalStoreError && error.code === "closed")
      throw RequestError.internalError({ code: error.code }, "The session was closed. Its turn continues when it is loaded.")
    console.error(error)
    if (error instanceof JournalStoreError && error.code === "in_use")
      throw RequestError.internalError({ code: error.code }, "The session is open in another process. Close it there first.")
    if (error instanceof JournalStoreError && error.code === "invalid_name")
      throw RequestError.invalidParams({ code: error.code }, "There is no such session.")
    const code = error instanceof Error && "code" in error ? error.code : undefined
    throw RequestError.internalError({ code }, error instanceof Error ? error.message : "The agent failed.")
  }
}

/** Updates of a session that its client does not know yet would be lost. */
function afterAnswer(work: () => void): void {
  setTimeout(work, 0)
}
