/** `npm start`: a small editor in the terminal, and the agent as its process. They share nothing but stdio, the folder and the sessions. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { methods, type SessionUpdate } from "@agentclientprotocol/sdk"
import { Editor } from "./editor.ts"
import { startAgent } from "./processes.ts"

const STATE = resolve("data/state")
const cwd = resolve("data/project")
rmSync("data", { recursive: true, force: true })
mkdirSync(cwd, { recursive: true })
writeFileSync(`${cwd}/notes.txt`, "Buy milk.\n")

let isMidLine = false
const line = (text: string): void => {
  console.log(`${isMidLine ? "\n" : ""}${text}`)
  isMidLine = false
}

/** Prints an update as an editor would show it. */
function show(update: SessionUpdate): void {
  const { sessionUpdate } = update
  if (sessionUpdate === "agent_message_chunk" || sessionUpdate === "agent_thought_chunk") {
    if (update.content.type === "text") process.stdout.write(update.content.text)
    isMidLine = true
  }
  if (sessionUpdate === "user_message_chunk") line(`you: ${update.content.type === "text" ? update.content.text : `[${update.content.type}]`}`)
  if (sessionUpdate === "tool_call") line(`  [${update.toolCallId}] ${update.title}`)
  if (sessionUpdate === "tool_call_update") {
    const hasDiff = update.content?.some(({ type }) => type === "diff") === true
    line(`  [${update.toolCallId}] ${update.status}${hasDiff ? ", with a difference" : ""}`)
  }
  if (sessionUpdate === "plan")
    line(`  plan: ${update.entries.map(({ status, content }) => `${status === "completed" ? "[x]" : "[ ]"} ${content}`).join(" ")}`)
}

async function start(answer: (title: string) => string) {
  const agent = startAgent({ ACP_AGENT_STATE: STATE })
  const editor = new Editor(agent.stream, {
    onUpdate: show,
    onPermission({ toolCall: { toolCallId }, options }) {
      const optionId = answer(toolCallId)
      line(`  the editor asks about ${toolCallId}: ${options.map(({ name }) => name).join(" / ")} → ${optionId}`)
      return optionId === "" ? new Promise(() => {}) : optionId
    },
  })
  const { agentInfo } = await editor.initialize()
  line(`=== ${agentInfo?.title} is started`)
  return { agent, editor }
}

async function say(editor: Editor, sessionId: string, text: string): Promise<void> {
  line(`you: ${text}`)
  const { stopReason } = await editor.prompt(sessionId, text)
  line(`  (${stopReason})`)
}

const first = await start((call) => (call === "call-2" ? "allow_always" : ""))
const { sessionId } = await first.editor.agent.request(methods.agent.session.new, { cwd, mcpServers: [] })
await say(first.editor, sessionId, "read notes.txt")
await say(first.editor, sessionId, "edit notes.txt: milk -> bread")
line("you: count to 1000")
const stopped = first.editor.prompt(sessionId, "count to 1000")
await first.editor.until(() => first.editor.text().includes(" 12 "))
await first.editor.agent.notify(methods.agent.session.cancel, { sessionId })
line(`  (${(await stopped).stopReason})`)

line("=== The agent is killed while it waits for an answer")
line("you: run cat notes.txt")
first.editor.prompt(sessionId, "run cat notes.txt").catch(() => {})
await first.editor.until(() => first.editor.questions.length === 2)
await first.agent.kill()

const second = await start(() => "allow_once")
line("=== The session is loaded: what was is shown again, and the question is asked again")
await second.editor.agent.request(methods.agent.session.load, { sessionId, cwd, mcpServers: [] })
await second.editor.until(() => second.editor.text().includes("Exit code 0"))
await say(second.editor, sessionId, "/goal write done.txt: all is done")
await second.agent.kill()
line(`done.txt: ${readFileSync(`${cwd}/done.txt`, "utf8")}`)
