import { expect, onTestFinished } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { JudgeConfig } from "../../src/drivers/checklist/judge.ts"
import type { Host } from "../../src/hosts/host.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { JudgedThread, type JudgedThreadOptions } from "../../src/hosts/judge/judged-thread.ts"
import { fallback } from "../../src/hosts/models/fallback.ts"
import { type OpenAiCompatibleOptions, openAiCompatible } from "../../src/hosts/models/openai-compatible.ts"
import { type RunThreadOptions, runThread, Thread, type ThreadOptions, type ThreadRest } from "../../src/hosts/thread/thread.ts"
import { defineTool } from "../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { GoalOutput } from "../../src/schemas/goal.ts"
import type { ChatMessage } from "./strict-rules.ts"
import {
  type ChatBody,
  type ScriptedAnswer,
  type SeenRequest,
  type StrictServer,
  type StrictServerOptions,
  startStrictServer,
} from "./strict-server.ts"

/** Answers of one model: a list in order, whose last answer repeats, or a function. `number` counts the requests of this model from 1. */
export type Answers =
  | readonly (ScriptedAnswer | string)[]
  | ((body: ChatBody, number: number) => ScriptedAnswer | string | Promise<ScriptedAnswer | string>)

export interface EndpointGoalOptions {
  /** The answers of the model `agent`. */
  readonly agent: Answers
  /** The answers of the model `judge`. Absent: the goal has no judge. */
  readonly judge?: Answers
  readonly server?: StrictServerOptions
  readonly client?: Partial<OpenAiCompatibleOptions>
  /** Models that are asked first. That of the goal answers where they fail. */
  readonly before?: readonly Pick<Host, "llmCall">[]
  readonly thread?: Partial<ThreadOptions>
  readonly judgeConfig?: Partial<JudgeConfig>
  readonly judging?: Partial<JudgedThreadOptions>
  readonly systemPrompt?: string
  readonly driver?: ReturnType<typeof chatDriver>
}

/** A call of a tool. */
export const calls = (name: string, args: object | string = {}, text?: string): ScriptedAnswer => ({
  calls: [{ name, args }],
  ...(text !== undefined && { text }),
})
export const look = (text?: string): ScriptedAnswer => calls("look", {}, text)
/** A judge's list of items. */
export const listOf = (...items: readonly string[]): ScriptedAnswer => calls("submit_checklist", { items: items.map((text) => ({ text })) })
/** A judge's verdict that settles these items. */
export const settles = (indexes: readonly number[], more: object = {}): ScriptedAnswer =>
  calls("update_checklist", {
    updates: indexes.map((index) => ({ index, status: "completed", evidence: `Seen ${index}.` })),
    new_items: [],
    reason: "Not all is shown.",
    ...more,
  })

/** The tokens that the goal is charged for a request: what was not cached, and the output. */
export const charged = (requests: readonly SeenRequest[]): number => requests.reduce((sum, { bill }) => sum + bill.fullPriceTokens, 0)

export const textOf = ({ content }: ChatMessage): string => (typeof content === "string" ? content : JSON.stringify(content ?? ""))
export const textsOf = ({ messages }: ChatBody): string => messages.map(textOf).join("\n")

/** A thread with a goal whose model, and whose judge if it has one, are at a strict endpoint. */
export class EndpointGoal {
  at = 1_000_000
  readonly store = memoryJournalStore()
  readonly reported: GoalOutput[] = []
  readonly server: StrictServer
  readonly options: EndpointGoalOptions
  readonly host: Host
  readonly client: Pick<Host, "llmCall">
  readonly box: ReturnType<typeof toolbox>
  thread!: Thread
  judge: JudgedThread | undefined

  private constructor(server: StrictServer, options: EndpointGoalOptions) {
    this.server = server
    this.options = options
    const own = openAiCompatible({ baseUrl: server.url, random: () => 0, sleep: async () => {}, ...options.client })
    this.client = options.before === undefined ? own : fallback([...options.before, own])
    this.box = toolbox([defineTool({ name: "look", description: "Looks.", input: z.object({}), execute: () => ({ seen: "A shop." }) })])
    this.host = {
      llmCall: (call, context) => {
        this.at += 1000
        return this.client.llmCall(call, context)
      },
      tools: this.box,
    }
  }

  static async open(options: EndpointGoalOptions): Promise<EndpointGoal> {
    const asked = { agent: 0, judge: 0 }
    const server = await startStrictServer(
      (body) => {
        const model = body.model === "judge" ? "judge" : "agent"
        const answers = options[model] ?? []
        asked[model] += 1
        if (typeof answers === "function") return answers(body, asked[model])
        return answers[Math.min(asked[model], answers.length) - 1] ?? ""
      },
      { rules: ["user_before_calls", "offered_tools"], ...options.server },
    )
    onTestFinished(() => server.close())
    const goal = new EndpointGoal(server, options)
    await goal.reopen()
    return goal
  }

  /** Opens the thread and its judge, again as another process would. */
  async reopen(more: Partial<ThreadOptions> = {}): Promise<void> {
    const { thread = {}, judge, judgeConfig, judging, systemPrompt = "You work in the folder of a small shop.", driver = chatDriver() } = this.options
    await this.judge?.close()
    await this.thread?.close()
    const { policy, ...rest } = thread
    this.thread = await Thread.open(this.store, "t", {
      config: { driver, projector: chatProjector, model: "agent", systemPrompt, tools: this.box.specs },
      now: () => this.at,
      policy: { ...(judge !== undefined && { endedBy: "judge" as const }), ...policy },
      ...rest,
      ...more,
    })
    this.judge =
      judge === undefined
        ? undefined
        : await JudgedThread.open(this.store, this.thread, { judge: { model: "judge", ...judgeConfig }, host: this.host, ...judging })
  }

  /** Runs the thread until it rests. No request may be refused. */
  async run(more: RunThreadOptions = {}): Promise<ThreadRest> {
    const rest = await runThread(this.thread, this.host, {
      now: () => this.at,
      wait: async (until) => {
        this.at = Math.max(this.at, until)
      },
      onGoal: (output) => this.reported.push(output),
      ...(this.judge !== undefined && { between: () => this.judge?.between() }),
      ...more,
    })
    expect(this.server.requests.flatMap(({ refusal }) => refusal ?? [])).toEqual([])
    return rest
  }

  get goal(): NonNullable<Thread["goal"]> {
    const { goal } = this.thread
    if (goal === null) throw new Error("The thread has no goal.")
    return goal
  }

  /** The requests of the agent's model. */
  get worked(): readonly SeenRequest[] {
    return this.server.requests.filter(({ body }) => body.model !== "judge")
  }

  /** The requests of the judge. */
  get judged(): readonly SeenRequest[] {
    return this.server.requests.filter(({ body }) => body.model === "judge")
  }

  /** The messages of the agent's last request. */
  get lastShown(): string {
    const last = this.worked.at(-1)
    return last === undefined ? "" : textsOf(last.body)
  }

  /** The numbers of the agent's requests that do not begin with all messages and the tools of the one before. */
  get broken(): readonly number[] {
    const bodies = this.worked.map(({ body }) => body)
    return bodies.flatMap(({ messages, tools }, index) => {
      const before = bodies[index - 1]
      if (before === undefined) return []
      const same = JSON.stringify(messages.slice(0, before.messages.length)) === JSON.stringify(before.messages)
      return same && JSON.stringify(tools) === JSON.stringify(before.tools) ? [] : [index + 1]
    })
  }
}
