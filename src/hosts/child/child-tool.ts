import { checkDriver, type TurnConfig } from "../../machine/config.ts"
import { userMessage } from "../../machine/user-message.ts"
import { digest } from "../../replay/digest.ts"
import { quoted } from "../../text.ts"
import { unknownKey } from "../../unknown-key.ts"
import type { ExternalCall } from "../../wire/approval.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import { type ChildPlace, type DetachedChildren, type EffectContext, pending, type ToolAnswer, ToolError } from "../host.ts"
import { memoryJournalStore } from "../journal/memory.ts"
import { checkHost } from "../run/checks.ts"
import { messageOf } from "../run/failures.ts"
import { idempotencyKey } from "../run/idempotency-key.ts"
import { endsRun } from "../run/interrupted.ts"
import { checkDescription, checkName } from "../tools/definition-checks.ts"
import { failed, invalidRequest, type Tool } from "../tools/toolbox.ts"
import { childFailure, childResult } from "./child-result.ts"
import { type ChildRunOptions, type ChildTurn, runChild } from "./child-run.ts"
import { type DetachedRuns, runsOf } from "./detached.ts"

/** What the model gives a child. */
export interface ChildTask {
  readonly task: string
}

/** Options of {@link childTool}. */
export interface ChildToolOptions<Name extends string = string> extends ChildRunOptions, Pick<Tool, "approval"> {
  /** The name of the tool. */
  readonly name: Name
  /** What the model reads: which tasks the child is for. */
  readonly description: string
  /** The configuration of the child's turn. A function must return the same for the same task: a resumed child has it again. */
  readonly config: TurnConfig | ((task: ChildTask) => TurnConfig)
  /** The I/O of the child's turn. */
  readonly host: ChildRunOptions["host"]
  /** What the child's turn begins with. Default: the task as the user's message. */
  readonly start?: (task: ChildTask) => TurnStart
  /** The tokens that children may use. Default: what the goal of the thread or the lease of the parent has left; without these, no limit. */
  readonly budget?: ChildRunOptions["budget"]
  /**
   * The call has its result at once, `{ childId, status: "running" }`, and the child runs on. The end of the child is given to the model later: by a
   * thread whose run has the same `children`, at the next checkpoint or as the beginning of a turn. Only turns that are not children have detached
   * children. Default: the call waits for its child.
   */
  readonly detached?: DetachedChildren
  /** How many turns may be below one that is not a child. At least 1, the default: a child has no children. */
  readonly maxDepth?: number
  /** How many children of one turn may be open at the same time, those that wait included. At least 1. Default: no limit. */
  readonly maxOpen?: number
  /** The loop that runs a child. Default: `runTurn` of `turn-machine/hosts`; the one of `openTelemetry` makes the child's span one of the call's. */
  readonly runTurn?: ChildRunOptions["runTurn"]
  /** How children are journaled. */
  readonly journal?: ChildRunOptions["journal"]
  /** How a child is resumed that another process began, as for `journaled`. */
  readonly resume?: ChildRunOptions["resume"]
  /** As `cancelGraceMs` of a run, for the child. Make it shorter than the parent's, which waits for the child. Default 1,000, and half of that at each further depth. */
  readonly cancelGraceMs?: number
  /** Receives the child's events. Its tokens are also emitted by the parent, as `child_token_usage`. */
  readonly onEvent?: ChildRunOptions["onEvent"]
}

/**
 * Makes a tool that runs a turn of its own, a subagent, and returns its result.
 *
 *     const research = childTool({ name: "research", description: "Answers a question from the files.", config, host, budget: { tokens: 50_000 } })
 *     const tools = toolbox([research])
 *
 * The child has a journal of its own in the parent's store. A call that runs again after a crash continues it. A child that waits for a
 * decision makes its call continue outside, so that the parent may suspend; `Suspended.children` has its held calls. Once they are decided in
 * the child's journal, the next run of the parent continues both. Its tokens count in the parent's turn, with its result.
 *
 * A parent without a journal runs its children in memory: they do not survive the process. Give such a run a `turnId`: without one,
 * `budget.total` counts only children that are open.
 * @throws {ToolDefinitionError} `invalid_name`, `invalid_description`
 * @throws {TypeError} the host has no `llmCall`, or an option is unknown
 * @throws {RangeError} a number is less than 1
 */
export function childTool<const Name extends string>(options: ChildToolOptions<Name>): Tool<Name> {
  checkOptions(options)
  const { name, description, config, start = startOf, maxDepth = 1, approval } = options
  const detached = options.detached === undefined ? undefined : runsOf(options.detached)
  const memory = memoryJournalStore()
  /** The children that run in this process. */
  const running = new Map<string, EffectContext>()

  function placeOf(context: EffectContext, callId: string): ChildPlace {
    const place = context.child?.()
    if (place !== undefined) return place
    const { effectId, signal } = context
    const turnId = context.idempotencyKey ?? crypto.randomUUID()
    const ofTurn = context.idempotencyKey?.slice(0, -idempotencyKey("", effectId, callId).length) ?? ""
    return { turnId, store: memory, name: `memory.child-${digest(turnId)}`, parent: { turnId: ofTurn, effectId, callId, depth: 1 }, signal }
  }

  /** Frees the memory of a child that has ended, unless its tokens still count in a total. */
  async function forget({ store, name, parent }: ChildPlace): Promise<void> {
    if (store === memory && (parent.turnId === "" || options.budget?.total === undefined)) await store.delete(name)
  }

  function childOf(task: ChildTask, place: ChildPlace): ChildTurn {
    return { place, tool: name, config: typeof config === "function" ? config(task) : config, start: start(task) }
  }

  detached?.add(name, {
    options,
    childOf: (args, place) => {
      const task = taskOf(args)
      if (task === undefined) throw new TypeError(`The arguments of ${quoted(name)} must be { "task": "…" }.`)
      return childOf(task, place)
    },
  })

  /** Begins a child that runs on, and answers with its id. */
  async function detach(
    runs: DetachedRuns,
    task: ChildTask,
    given: ChildPlace,
    { args }: PendingToolCall,
    context: EffectContext,
  ): Promise<ToolAnswer> {
    if (given.store === memory) return failed(childFailure("internal", "child_failed", "Subagents in the background need a turn with a journal."))
    const place = { ...given, parent: { ...given.parent, detached: { toolName: name, args } } }
    try {
      if (await runs.start(childOf(task, place), options))
        return { output: { status: "success", value: { childId: place.turnId, status: "running" } } }
      return failed(SAME_CHILD)
    } catch (error) {
      return failedChild(error, context)
    }
  }

  async function run(task: ChildTask, place: ChildPlace, context: EffectContext): Promise<ToolAnswer> {
    const child = childOf(task, place)
    const other = running.get(place.turnId)
    if (other?.signal.aborted === false) return failed(SAME_CHILD)
    running.set(place.turnId, context)
    try {
      const end = await runChild(child, options, context)
      if (end.type === "done") {
        await forget(place)
        return childResult(end)
      }
      const waits = end.held.length > 0 || (end.children ?? []).some(({ held }) => held.length > 0)
      return pending({ token: place.turnId, note: `The subagent ${quoted(name)} ${waits ? "waits for a decision" : "is suspended"}.` })
    } catch (error) {
      return failedChild(error, context)
    } finally {
      if (running.get(place.turnId) === context) running.delete(place.turnId)
    }
  }

  /** The place of a child that has begun. */
  async function begun(call: PendingToolCall, context: EffectContext): Promise<ChildPlace | undefined> {
    const place = placeOf(context, call.callId)
    if (running.get(place.turnId)?.signal.aborted === false) return undefined
    return (await place.store.read(place.name)) === undefined ? undefined : place
  }

  return {
    spec: { name, description, inputSchema: INPUT_SCHEMA },
    effects: "idempotent",
    ...(approval !== undefined && { approval }),
    async call(call, context) {
      const task = taskOf(call.args)
      if (task === undefined) return failed(invalidRequest("invalid_arguments", `The arguments of ${quoted(name)} must be { "task": "…" }.`))
      const place = placeOf(context, call.callId)
      if (detached !== undefined && place.parent.depth > 1) return failed(childFailure("permission_denied", "child_depth", NOT_DETACHED))
      if (place.parent.depth <= maxDepth) return detached === undefined ? run(task, place, context) : detach(detached, task, place, call, context)
      const message = `The subagent was not started: subagents may be nested ${maxDepth} deep. Do the task here.`
      return failed(childFailure("permission_denied", "child_depth", message))
    },
    async resume(call: ExternalCall, context) {
      if (detached !== undefined) return undefined
      const task = taskOf(call.args)
      const place = await begun(call, context)
      return task === undefined || place === undefined || call.token !== place.turnId ? undefined : run(task, place, context)
    },
    async cancel(call, context) {
      // The child of a call without a result is cancelled with its turn.
      if (detached !== undefined) return undefined
      const task = taskOf(call.args)
      const place = await begun(call, context)
      return task === undefined || place === undefined ? undefined : run(task, place, context)
    },
  }
}

const NOT_DETACHED = "The subagent was not started: it runs in the background, and only the main agent can start such subagents. Do the task here."
const SAME_CHILD = childFailure("invalid_request", "child_running", "The subagent of this call runs already. Give each call an id of its own.")

/** The failure of a call whose child could not run. @throws an error that ends the parent's run */
function failedChild(error: unknown, { isFatal }: EffectContext): ToolAnswer {
  if (isFatal?.(error) === true || endsRun(error)) throw error
  if (error instanceof ToolError) return failed(error.failure)
  return failed(childFailure("internal", "child_failed", `The subagent could not run: ${messageOf(error)}`))
}

const INPUT_SCHEMA = {
  type: "object",
  properties: {
    task: { type: "string", description: "What to do, with everything that is needed to do it: nothing else of this conversation is seen." },
  },
  required: ["task"],
  additionalProperties: false,
}

function taskOf(args: PendingToolCall["args"]): ChildTask | undefined {
  const { task } = (args ?? {}) as { readonly task?: unknown }
  return typeof task === "string" && task.trim() !== "" ? { task } : undefined
}

function startOf({ task }: ChildTask): TurnStart {
  return { messages: [userMessage(task)] }
}

const KEYS = {
  name: true,
  description: true,
  config: true,
  host: true,
  start: true,
  budget: true,
  detached: true,
  maxDepth: true,
  maxOpen: true,
  runTurn: true,
  journal: true,
  resume: true,
  cancelGraceMs: true,
  onEvent: true,
  approval: true,
} satisfies { readonly [Key in keyof ChildToolOptions]-?: true }

function checkOptions(options: ChildToolOptions): void {
  const unknown = unknownKey(options, Object.keys(KEYS))
  if (unknown !== undefined) {
    const { key, hint = `the options are ${Object.keys(KEYS).join(", ")}.` } = unknown
    throw new TypeError(`childTool was given the unknown option ${JSON.stringify(key)}; ${hint}`)
  }
  const { name, description, host, config, maxDepth, maxOpen, budget } = options
  checkName(name, "childTool")
  checkDescription(name, description)
  checkHost(host)
  if (typeof config !== "function") checkDriver(config?.driver)
  for (const [key, value] of Object.entries({ maxDepth, maxOpen, "budget.tokens": budget?.tokens, "budget.total": budget?.total }))
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
      throw new RangeError(`${key} must be a whole number of at least 1, not ${value}.`)
}
