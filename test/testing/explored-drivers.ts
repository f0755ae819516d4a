import { isDeepStrictEqual } from "node:util"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { codeDriver } from "../../src/drivers/code.ts"
import { compactingDriver } from "../../src/drivers/compaction/driver.ts"
import { goalInputEvent } from "../../src/drivers/goal/deliveries.ts"
import { type GoalDriverOptions, goalDriver } from "../../src/drivers/goal/driver.ts"
import { readGoal } from "../../src/drivers/goal/history.ts"
import { changeGoal } from "../../src/drivers/goal/thread.ts"
import type { OutputSchema } from "../../src/drivers/output.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { Json } from "../../src/json.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { userMessage } from "../../src/machine/user-message.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { viewProjector } from "../../src/projectors/view.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { AnswerableEffect } from "../../src/schemas/effect.ts"
import type { OutputPart } from "../../src/schemas/llm.ts"
import type { HistoryRecord, Message } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { answerTo } from "../../src/testing/answers.ts"
import type { ExploreBounds, ExploreTurnOptions } from "../../src/testing/explore-turn.ts"
import type { StepLaw } from "../../src/testing/step-checker.ts"
import type { TestedMachine } from "../../src/testing/turn-input.ts"

/** A driver of this package, alone or around others, with what is special to it. */
export interface ExploredDriver {
  readonly name: string
  readonly options: Omit<ExploreTurnOptions, "bounds">
  /** `fast`: within a second. Absent: the fast lane leaves it out. `full`: within half a minute. */
  readonly bounds: { readonly fast?: ExploreBounds; readonly full: ExploreBounds }
}

function says(effect: AnswerableEffect, ...parts: readonly OutputPart[]): Response {
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  return answerTo(effect, { llm: { ok: true, response: { text, parts, usage, terminalReason: "stop" } } })
}

function calls(effect: AnswerableEffect, toolName: string, args: Json): Response {
  return says(effect, { type: "tool_call", callId: `own_${effect.id}`, toolName, inputJson: JSON.stringify(args) })
}

const HOLD = { policy: () => ({ hold: {} }) } as const

/** A held call may run only after an approval, an edit or a grant: no cancelled batch or restored turn lets another one run. */
const consent =
  (isHeld: (callId: string) => boolean = () => true): StepLaw =>
  ({ after }) => {
    const { state } = after.turn.position
    if (state.type !== "waiting_tools" || after.outstanding?.type !== "tool_calls") return undefined
    const isGranted = after.history.some((record) => record.type === "protocol" && isGrant(record.event))
    const decided = state.decided.toArray().filter(({ decision }) => decision === "approve" || decision === "edit")
    const allowed = new Set(decided.map(({ requestId }) => requestId))
    const found = after.outstanding.calls.find(({ callId }) => isHeld(callId) && !allowed.has(`${state.outstanding.id}:${callId}`))
    return found === undefined || isGranted ? undefined : `${found.callId} may run`
  }

/** A call that the policy denies, and an edited one, get a result and never run. */
const NEVER_SECOND: StepLaw = ({ after }) => {
  const found = after.outstanding?.type === "tool_calls" && after.outstanding.calls.find(({ callId, args }) => isSecond(callId) || isEdited(args))
  return found ? `${found.callId} may run` : undefined
}

const isEdited = (args: Json): boolean => isDeepStrictEqual(args, { edited: true })

const isSecond = (callId: string): boolean => callId.endsWith("_1")

function isGrant(event: Json): boolean {
  const { type, effect } = (event ?? {}) as { readonly type?: Json; readonly effect?: Json }
  return type === "approval_grant" && effect === "allow"
}

/** A redirected turn leaves what it waited for, and has the message of the user once more. */
const REDIRECTED: StepLaw = ({ input, before, after }) => {
  if (input?.type !== "redirect" || before === undefined) return undefined
  if (after.outstanding !== undefined && after.outstanding.id === before.outstanding?.id) return `it still waits for ${after.outstanding.id}`
  if (after.state === "waiting_tools" || after.state === "waiting_exec") return `it is in ${after.state}`
  const times = (turn: TestedMachine): number => turn.messages.filter(({ id }) => id === "redirected").length
  if (times(after) !== times(before) + 1) return `the message is there ${times(after)} times`
  return before.messages.every((message, index) => after.messages[index] === message) ? undefined : "what was said has changed"
}

const THREAD = { threadId: "thread", turnId: "turn", startedAt: 1_000 } as const satisfies GoalDriverOptions

/** A turn never charges more than it used. */
const CHARGES: StepLaw = ({ after }) => {
  const charged = readGoal(after.turn.record.events, "thread").state.turn?.reported.inputTokens ?? 0
  return charged <= after.usage.inputTokens ? undefined : `${charged} of ${after.usage.inputTokens} tokens`
}

/** A thread whose goal has a small budget: some turns reach it. */
function withGoal(tokenBudget: number): TurnStart {
  const thread = { threadId: "thread", history: [], policy: {}, mode: "default" } as const
  const { records } = changeGoal(thread, { type: "command", at: 500, command: { type: "set", objective: "float", tokenBudget } })
  return { messages: [userMessage("A question.")], events: records }
}

const COMMANDS = (["pause", "clear"] as const).map((type) =>
  goalInputEvent("thread", { type: "command", at: 2_000, turnId: "turn", command: { type } }),
)

const CITY: OutputSchema<{ readonly city: string }> = {
  name: "city",
  jsonSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  check(answer) {
    const { city } = (typeof answer === "object" && answer !== null ? answer : {}) as { readonly city?: Json }
    return typeof city === "string" ? { ok: true, value: { city } } : { ok: false, problem: "- city: it must be a text" }
  },
}

/** A turn that ends by an answer has a value of the schema. */
const HAS_VALUE: StepLaw = ({ after: { outcome } }) => {
  if (outcome?.type !== "finished") return undefined
  if (outcome.finish.type === "tool_value") return undefined
  return outcome.finish.type === "submitted_value" && CITY.check(outcome.finish.value).ok ? undefined : JSON.stringify(outcome)
}

const BLOCK = "Look:\n```js\nprint(1)\n```"
const CODE = [BLOCK, `${BLOCK}\nIt prints 1.\n\`\`\`js\nprint(2)\n\`\`\``, "```js\nprint(1)"]

/** The defaults, and answers that contain code. The transcript of a code driver drops what follows the code: not `verbatim`. */
const withCode: ExploreTurnOptions["answers"] = (effect, defaults) =>
  effect.type === "llm_call" ? [...defaults, ...CODE.map((text) => says(effect, { type: "text", text }))] : defaults

/** The transcript has an answer up to the closing fence of its code, and one without code as a whole. */
const KEEPS_CODE: StepLaw = ({ input, before, after }) => {
  if (before === undefined || input?.type !== "respond" || input.response.type !== "llm_complete" || !input.response.result.ok) return undefined
  const { text } = input.response.result.response
  const stored = after.messages.slice(before.messages.length).flatMap(({ role, parts }) => (role === "assistant" ? parts : []))
  const kept = stored.map((part) => (part.type === "text" ? part.text : "")).join("")
  return kept === (text.startsWith(BLOCK) ? BLOCK : text) ? undefined : `of ${JSON.stringify(text)} it keeps ${JSON.stringify(kept)}`
}

/** A conversation that is nearly as long as the window of its model. */
const LONG: TurnStart = {
  messages: [
    ...["First.", "Second.", "Third."].flatMap((text, index): readonly Message[] => [
      userMessage(`${text} ${"x".repeat(400)}`, { id: `u${index}` }),
      { id: `a${index}`, role: "assistant", parts: [{ id: `a${index}.p0`, type: "text", text: `Answer. ${"y".repeat(400)}` }] },
    ]),
    userMessage("A question.", { id: "last" }),
  ],
}
const SMALL_WINDOW = { projector: viewProjector(chatProjector), maxContextTokens: 900 }
const COMPACTION = { keepUserTokens: 20, keepTailTokens: 20, maxFailures: 2 }

const isCompaction = (effect: AnswerableEffect): boolean => effect.type === "llm_call" && effect.purpose === "compaction"

/** The defaults; for a compaction, also a summary that is too long. A checkpoint may deliver a summary that fits the transcript, or none. */
const withSummaries: ExploreTurnOptions["answers"] = (effect, defaults) => {
  if (isCompaction(effect)) return [...defaults, says(effect, { type: "text", text: "z".repeat(4_000) })]
  if (effect.type !== "checkpoint") return defaults
  const delivered = { type: "compaction_delivered", through: "a1", summary: "They talked.", usage: { inputTokens: 1, outputTokens: 1 } }
  return [
    ...defaults,
    ...[7, 3].map((count) => answerTo(effect, { delivery: { events: [{ ...delivered, base: { messageId: count === 7 ? "last" : "u1", count } }] } })),
    answerTo(effect, { delivery: { events: [{ type: "compaction_requested" }] } }),
  ]
}

/** What was said stays, whatever a compaction does to the requests; and what the model says in a compaction is not part of the conversation. */
const KEEPS_ALL: StepLaw = ({ input, before, after }) => {
  if (before === undefined) return undefined
  if (!before.messages.every((message, index) => after.messages[index] === message)) return "a message is gone or changed"
  const isAnswer = input !== undefined && (input.type === "respond" ? input.response.type === "llm_complete" : "partial" in input)
  if (!isAnswer || before.outstanding === undefined || !isCompaction(before.outstanding)) return undefined
  const added = after.messages
    .slice(before.messages.length)
    .find(({ role, origin }) => role === "assistant" || (role === "user" && origin !== undefined))
  return added === undefined ? undefined : `it adds ${JSON.stringify(added)}`
}

/** What the host delivers when a child in the background reports its tokens, or has ended. */
function childDeliveries(effect: AnswerableEffect): readonly Response[] {
  const usage = { inputTokens: 3, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  const reported = goalInputEvent("thread", { type: "child_usage_reported", at: 3_000, childId: "child", goalId: "thread.goal1", usage })
  const ended: Message = {
    id: "child:child",
    role: "event",
    parts: [{ id: "child:child.p0", type: "text", text: "The subagent has finished." }],
    origin: { type: "process", processId: "child", eventType: "subagent_finished", sequence: 1 },
  }
  return [{ events: [reported] }, { userMessages: [ended] }, { userMessages: [ended], events: [reported] }].map((delivery) =>
    answerTo(effect, { delivery }),
  )
}

/** The results of a child that the call waited for: with the tokens that it used. */
function childResults(effect: AnswerableEffect, defaults: readonly Response[]): readonly Response[] {
  if (effect.type !== "tool_calls") return []
  const usage = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
  return defaults.flatMap((response) =>
    response.type === "tool_results" ? [{ ...response, results: response.results.map((result) => ({ ...result, usage })) }] : [],
  )
}

/** The end of a child is in the transcript at most once. */
const ENDS_ONCE: StepLaw = ({ after }: { readonly after: TestedMachine }) => {
  const times = after.messages.filter(({ id }) => id === "child:child").length
  return times <= 1 ? undefined : `it is there ${times} times`
}

const goalAround = (inner: ProtocolDriver, more: Partial<GoalDriverOptions> = {}): ProtocolDriver => goalDriver(inner, { ...THREAD, ...more })

const goalAnswers: ExploreTurnOptions["answers"] = (effect, defaults) => {
  if (effect.type === "llm_call")
    return [...defaults, calls(effect, "create_goal", { objective: "swim" }), calls(effect, "update_goal", { status: "complete" })]
  if (effect.type !== "checkpoint") return defaults
  return [...defaults, ...COMMANDS.map((event) => answerTo(effect, { delivery: { events: [event] } }))]
}

const CONSENT_LAW = { "a held call may run only after an approval, an edit or a grant": consent() }
const CHARGES_LAW = { "a turn charges at most what it used": CHARGES }
const REDIRECTED_LAW = { "a redirected turn leaves what it waited for, and has the message once more": REDIRECTED }

/** A turn may have a second iteration, also where a bound cuts it off. */
const TWO_ITERATIONS = { maxIterations: 2 }

const approval = approvalDriver(chatDriver(), HOLD)

/** What a host applies is stored and shown, once, and the turn still waits for what it waited for. */
const APPLIED: StepLaw = ({ input, before, after, effects }) => {
  if (input?.type !== "apply" || before === undefined) return undefined
  const isNoted = (record: HistoryRecord): boolean => record.type === "protocol" && isDeepStrictEqual(record.event, { type: "noted" })
  const added = after.history.slice(before.history.length)
  if (added.filter(isNoted).length !== 1) return "the record is not there once"
  if (input.actions.some(({ type }) => type === "finish")) return after.done ? undefined : "the turn has not ended"
  if (after.messages.filter(({ id }) => id === "applied").length !== 1) return "the message is not there once"
  if (effects.filter((effect) => effect.type === "emit" && effect.event.type === "message" && effect.event.kind === "host").length !== 1)
    return "the event is not shown once"
  return after.outstanding === before.outstanding || after.outstanding?.id === before.outstanding?.id ? undefined : "it waits for something else"
}

/** The drivers of this package, and those around others that hosts build of them. */
export const EXPLORED: readonly ExploredDriver[] = [
  {
    name: "chat",
    options: { driver: chatDriver(), config: TWO_ITERATIONS },
    bounds: { fast: { deliveries: 0, depth: 4 }, full: {} },
  },
  {
    name: "chat, prompt and tools synced",
    options: { driver: chatDriver(), config: { syncExecutionSurface: true, maxIterations: 1 } },
    bounds: { fast: { calls: 0, deliveries: 9 }, full: { calls: 1, deliveries: 9 } },
  },
  {
    name: "chat, an empty answer asked for once more",
    options: { driver: chatDriver({ retryEmptyAnswer: true }), config: { maxIterations: 3 } },
    bounds: { fast: { iterations: 2, calls: 0, deliveries: 0 }, full: { iterations: 3, calls: 1, deliveries: 0, depth: 7 } },
  },
  ...(["answer", "tool"] as const).map(
    (outputMode): ExploredDriver => ({
      name: `chat, output as ${outputMode}`,
      options: {
        driver: chatDriver({ output: CITY, outputMode }),
        laws: { "a finished turn has a value of the schema": HAS_VALUE },
        answers: (effect, defaults) => {
          if (effect.type !== "llm_call") return defaults
          const given = ['{"city":"Oslo"}', '{"city":1}', "{"]
          return [...defaults, ...given.map((text) => (outputMode === "tool" ? submits(effect, text) : says(effect, { type: "text", text })))]
        },
      },
      bounds: { fast: { iterations: 1, calls: 1, deliveries: 0 }, full: { iterations: 2, calls: 1 } },
    }),
  ),
  {
    name: "code",
    options: {
      driver: codeDriver(),
      without: ["verbatim"],
      answers: withCode,
      laws: { "an answer is in the transcript up to the end of its code, or as a whole": KEEPS_CODE },
    },
    bounds: { fast: { iterations: 1, calls: 0, deliveries: 0 }, full: { iterations: 2, calls: 0 } },
  },
  {
    name: "code, wrapped with a state of its own",
    options: {
      driver: wrapDriver(codeDriver(), { ownState: (_context, { type }) => ({ started: type }) }),
      without: ["verbatim"],
      answers: withCode,
    },
    bounds: { fast: { iterations: 1, calls: 0, deliveries: 0 }, full: { iterations: 2, calls: 0 } },
  },
  {
    name: "approval",
    options: { driver: approval, config: TWO_ITERATIONS, laws: CONSENT_LAW },
    bounds: { fast: { calls: 1, deliveries: 0, depth: 3 }, full: { calls: 2, deliveries: 0, depth: 4 } },
  },
  {
    name: "approval of one call of two",
    options: {
      driver: approvalDriver(chatDriver(), { policy: ({ callId }) => (isSecond(callId) ? { hold: { scopes: ["call"] } } : "run") }),
      answers: (effect, defaults) => (effect.type === "llm_call" ? defaults.filter((answer) => callsOf(answer).length !== 1) : defaults),
      laws: { "the second call may run only after an approval or an edit": consent(isSecond) },
    },
    bounds: { fast: { iterations: 1, deliveries: 0 }, full: { iterations: 1, deliveries: 1 } },
  },
  {
    name: "approval that denies",
    options: {
      driver: approvalDriver(chatDriver(), {
        policy: ({ callId }, { edited }) => (isSecond(callId) || edited === true ? { deny: "No." } : { hold: { scopes: ["call", "turn"] } }),
      }),
      config: TWO_ITERATIONS,
      laws: { ...CONSENT_LAW, "a denied call never runs": NEVER_SECOND },
    },
    bounds: { fast: { iterations: 1, deliveries: 0, depth: 2 }, full: { iterations: 1, deliveries: 0 } },
  },
  {
    name: "compaction",
    options: {
      driver: compactingDriver(chatDriver(), COMPACTION),
      config: SMALL_WINDOW,
      start: LONG,
      answers: withSummaries,
      laws: { "the transcript keeps what was said, and nothing of a compaction": KEEPS_ALL },
    },
    bounds: { fast: { iterations: 1, calls: 0, deliveries: 0, depth: 3 }, full: { iterations: 1, calls: 1, depth: 4 } },
  },
  {
    name: "goal",
    options: { driver: goalAround(chatDriver()), answers: goalAnswers, laws: CHARGES_LAW },
    bounds: { fast: { iterations: 1, calls: 1, deliveries: 0 }, full: { iterations: 2, calls: 1 } },
  },
  {
    name: "goal with a budget, continued",
    options: {
      driver: goalAround(chatDriver(), { origin: "continuation", policy: { hardBudget: true } }),
      start: withGoal(1_200),
      answers: goalAnswers,
      laws: CHARGES_LAW,
    },
    bounds: { fast: { iterations: 1, calls: 1, deliveries: 1 }, full: { iterations: 2, calls: 1 } },
  },
  {
    name: "children of a goal",
    options: {
      driver: goalAround(chatDriver(), { policy: { countChildren: true } }),
      start: withGoal(1_200),
      answers: (effect, defaults) => [
        ...defaults,
        ...childResults(effect, defaults),
        ...(effect.type === "checkpoint" ? childDeliveries(effect) : []),
      ],
      laws: { "the end of a child is in the transcript at most once": ENDS_ONCE },
    },
    bounds: { fast: { iterations: 1, calls: 1, depth: 4 }, full: { iterations: 1, calls: 2, depth: 5 } },
  },
  {
    name: "goal around compaction around approval",
    options: {
      driver: goalAround(compactingDriver(approval, COMPACTION)),
      config: SMALL_WINDOW,
      start: LONG,
      answers: (effect, defaults) => (isCompaction(effect) ? summaryAnswers(effect, defaults) : defaults),
      laws: { ...CONSENT_LAW, ...CHARGES_LAW, "the transcript keeps what was said, and nothing of a compaction": KEEPS_ALL },
    },
    bounds: { fast: { iterations: 1, calls: 1, deliveries: 0, depth: 3 }, full: { iterations: 1, calls: 1, deliveries: 0 } },
  },
  redirected("chat", { driver: chatDriver() }, 2, true),
  redirected("chat, prompt and tools synced", { driver: chatDriver(), config: { syncExecutionSurface: true } }, 1),
  redirected("approval", { driver: approval }, 1),
  redirected("goal", { driver: goalAround(chatDriver()) }, 1),
  redirected("compaction", { driver: compactingDriver(chatDriver(), COMPACTION), config: SMALL_WINDOW, start: LONG }, 0),
  redirected(
    "code",
    {
      driver: codeDriver(),
      without: ["verbatim"],
      answers: (effect, defaults) => (effect.type === "llm_call" ? [BLOCK, "Done."].map((text) => says(effect, { type: "text", text })) : defaults),
    },
    0,
    true,
  ),
  answeredHostilely("chat", { driver: chatDriver() }),
  answeredHostilely("approval", { driver: approval, laws: CONSENT_LAW }),
  answeredHostilely("goal", { driver: goalAround(chatDriver()), laws: CHARGES_LAW }, "create_goal"),
  answeredHostilely(
    "chat, output as tool",
    { driver: chatDriver({ output: CITY, outputMode: "tool" }), laws: { "a finished turn has a value of the schema": HAS_VALUE } },
    "submit",
  ),
  addedTo("chat", { driver: chatDriver(), config: TWO_ITERATIONS }, 2, true),
  addedTo("chat, prompt and tools synced", { driver: chatDriver(), config: { syncExecutionSurface: true } }, 1),
  addedTo("approval", { driver: approval, config: TWO_ITERATIONS, laws: CONSENT_LAW }, 1),
  addedTo("goal", { driver: goalAround(chatDriver()), config: TWO_ITERATIONS, laws: CHARGES_LAW }, 1),
  addedTo("compaction", { driver: compactingDriver(chatDriver(), COMPACTION), config: SMALL_WINDOW, start: LONG }, 0),
  addedTo("code", { driver: codeDriver(), config: TWO_ITERATIONS, without: ["verbatim"], answers: withCode }, 0, true),
]

/** What a model says that was not asked for: calls of a tool that it was not offered, two calls with one id, and arguments that no tool can read. */
function withHostile(toolName: string): NonNullable<ExploreTurnOptions["answers"]> {
  return (effect, defaults) => {
    if (effect.type !== "llm_call") return defaults
    const call = (callId: string, name: string, inputJson: string): OutputPart => ({ type: "tool_call", callId, toolName: name, inputJson })
    return [
      ...defaults.filter((answer) => callsOf(answer).length > 0),
      says(effect, call("c", "not_offered", "{}")),
      says(effect, call("c", "__proto__", "{}"), call("d", "constructor", "{}")),
      says(effect, call("c", toolName, "{}"), call("c", toolName, '{"a":1}')),
      says(effect, call("c", toolName, "{}"), call("c", "not_offered", "{}")),
      says(effect, call("", toolName, "{}")),
      ...["[]", '"text"', "null", "1e999", '{"__proto__":{"polluted":true}}', "{}{}"].map((text) => says(effect, call("c", toolName, text))),
    ]
  }
}

/** Answers that nobody asked for. */
function answeredHostilely(name: string, options: ExploredDriver["options"], toolName = "tool"): ExploredDriver {
  return {
    name: `${name}, with hostile answers`,
    options: { ...options, config: { ...options.config, ...TWO_ITERATIONS }, answers: withHostile(toolName) },
    bounds: { fast: { iterations: 1, deliveries: 0, depth: 2 }, full: { iterations: 1, deliveries: 0, depth: 4 } },
  }
}

/** A driver to whose turns the host adds a record and a message in every state. */
function addedTo(name: string, options: ExploredDriver["options"], calls: number, isFast = false): ExploredDriver {
  const bounds = { iterations: 1, deliveries: 0, applies: 1, calls }
  return {
    name: `${name}, with additions of the host`,
    options: { ...options, laws: { ...options.laws, "what a host applies is stored and shown once": APPLIED } },
    bounds: { ...(isFast && { fast: { ...bounds, calls: 0 } }), full: { ...bounds, depth: 5 } },
  }
}

/** A driver whose user redirects it in every state. */
function redirected(name: string, options: ExploredDriver["options"], calls: number, isFast = false): ExploredDriver {
  const bounds = { iterations: 1, deliveries: 0, redirects: 1, calls }
  return {
    name: `${name}, redirected`,
    options: { ...options, laws: REDIRECTED_LAW },
    bounds: { ...(isFast && { fast: { ...bounds, calls: 0 } }), full: { ...bounds, depth: 5 } },
  }
}

function callsOf(answer: Response): readonly OutputPart[] {
  if (answer.type !== "llm_complete" || !answer.result.ok) return []
  return answer.result.response.parts.filter(({ type }) => type === "tool_call")
}

function submits(effect: AnswerableEffect, inputJson: string): Response {
  return says(effect, { type: "tool_call", callId: `own_${effect.id}`, toolName: "submit", inputJson })
}

/** A summary, and two ways in which a compaction fails: the others are those of the driver alone. */
function summaryAnswers(effect: AnswerableEffect, defaults: readonly Response[]): readonly Response[] {
  const failed = defaults.filter((response) => response.type === "llm_complete" && !response.result.ok)
  return [says(effect, { type: "text", text: "They talked." }), ...failed.slice(0, 1), ...failed.slice(3, 4)]
}
