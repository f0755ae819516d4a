import { DriverError, SchemaError } from "../errors.ts"
import { isBuiltOnDemand, isOwn } from "../freeze.ts"
import { MAX_JSON_DEPTH, whyNotJson } from "../json.ts"
import { shortened } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { LlmRequest } from "../wire/llm.ts"
import type { HistoryRecord, Part } from "../wire/message.ts"
import type { PendingToolCall } from "../wire/tool.ts"
import type { MachineAction } from "./apply-actions.ts"
import type { CompleteTurnConfig } from "./config.ts"

/**
 * Checks a driver's actions before they are applied: what is not JSON, or not what a checkpoint may hold, could enter a turn but never
 * leave it. The cost is that of the new values: the request of a model call is left out. Of the machine's own actions only
 * `prepare_iteration` passes, which its rules put around a driver's.
 * @throws {DriverError} `invalid_action`, `second_end`, `unknown_action`
 */
export function checkedActions({ validation, driver }: CompleteTurnConfig, actions: readonly MachineAction[]): readonly MachineAction[] {
  // Any other action of the machine would enter a turn unchecked.
  for (const action of actions) if (!isDriverAction(action) && action?.type !== "prepare_iteration") throw unknownAction(action)
  if (actions.every((action) => !isDriverAction(action) || isOrdinary(action))) return actions
  const who = `The driver "${shortened(driver.name)}"`
  return actions.map((action, index) => {
    if (!isDriverAction(action) || isOrdinary(action)) return action
    refuseUnstorable(who, action, index)
    try {
      const [checked = action] = validation?.actions([withoutRequest(action)]) ?? []
      return checked.type === "start_llm" && action.type === "start_llm" ? { ...checked, request: action.request } : checked
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error
      const [{ path, message } = { path: "/0", message: error.message }] = error.issues
      throw invalidAction(who, path.replace("/0", `/${index}`), message)
    }
  })
}

/**
 * Refuses an action that is not JSON, or that emits an event of the end.
 * @throws {DriverError} `invalid_action`, `second_end`
 */
export function refuseUnstorable(who: string, action: DriverAction, index: number): void {
  if (action.type === "emit" && (action.event?.type === "done" || action.event?.type === "turn_outcome"))
    throw new DriverError("second_end", `${who} emitted "${action.event.type}", which only the machine emits, at the end. Finish the turn instead.`)
  const found =
    faultIn(withoutRequest(action), `/${index}`, -SHAPE_DEPTH) ?? (action.type === "start_llm" ? requestFault(action.request, index) : undefined)
  if (found !== undefined)
    throw invalidAction(who, found.path, SHAPES.has(found.why) ? `it is ${found.why}` : `it is ${found.why}, which is not JSON`)
}

/** How deeply free JSON is nested in an action at most. */
const SHAPE_DEPTH = 8

function invalidAction(who: string, path: string, problem: string): DriverError {
  return new DriverError("invalid_action", `${who} returned an action that is not valid at "${shortened(path)}": ${problem.slice(0, 200)}.`)
}

const TYPES: { readonly [Type in DriverAction["type"]]: true } = {
  emit: true,
  append_events: true,
  start_llm: true,
  start_tools: true,
  release_calls: true,
  settle_calls: true,
  start_exec: true,
  start_checkpoint: true,
  advance_iteration: true,
  schedule_turn_limit_final: true,
  finish: true,
}

/**
 * Refuses what is not an action of a driver: a host may apply no other.
 * @throws {DriverError} `unknown_action`
 */
export function refuseForeign(actions: readonly DriverAction[]): void {
  for (const action of actions) if (!isDriverAction(action)) throw unknownAction(action)
}

function unknownAction(action: MachineAction | undefined): DriverError {
  return new DriverError("unknown_action", `A list has an action of an unknown type: ${String(action?.type)}.`)
}

function isDriverAction(action: MachineAction | null | undefined): action is DriverAction {
  return typeof action === "object" && action !== null && Object.hasOwn(TYPES, action.type)
}

/** The action without keys that are `undefined`, and with a request that stands for its own: its lists are built when they are read. */
function withoutRequest(action: DriverAction): DriverAction {
  const light: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(action)) if (value !== undefined) light[key] = value
  if (action.type === "start_llm") light["request"] = NO_REQUEST
  return light as DriverAction
}

const NO_REQUEST = { model: "", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }

/**
 * What of a request no checkpoint could hold. The lists of messages and attachments are built when they are read, and hold what is in the
 * transcript; frozen tools were checked before.
 */
function requestFault(request: LlmRequest, index: number): Fault | undefined {
  if (typeof request !== "object" || request === null) return { path: `/${index}/request`, why: NOT_A_REQUEST }
  for (const key in request) {
    if (!isOwn(request, key) || isBuiltOnDemand(request, key)) continue
    const value = request[key as keyof LlmRequest]
    if (key === "messages" || key === "attachments") {
      if (value !== undefined && !Array.isArray(value)) return { path: `/${index}/request/${key}`, why: NO_LIST }
    } else if (value !== undefined && !(typeof value === "object" && Object.isFrozen(value))) {
      const found = faultIn(value, `/${index}/request/${key}`, 0)
      if (found !== undefined) return found
    }
  }
  for (const key of NEEDED) {
    if (isOwn(request, key) && (isBuiltOnDemand(request, key) || request[key] !== undefined)) continue
    return { path: `/${index}/request/${key}`, why: MISSING }
  }
  return undefined
}

/** What every request has. */
const NEEDED = ["model", "messages", "attachments", "tools", "toolChoice", "generation"] as const satisfies readonly (keyof LlmRequest)[]

const NOT_A_REQUEST = "not a request"
const NO_LIST = "not a list"
const MISSING = "missing"
const SHAPES: ReadonlySet<string> = new Set([NOT_A_REQUEST, NO_LIST, MISSING])

interface Fault {
  readonly path: string
  readonly why: string
}

/** Where a value is not JSON, and why. The place is searched only if there is one. */
function faultIn(value: unknown, path: string, depth: number): Fault | undefined {
  const why = whyNotJson(value, depth)
  if (why === undefined) return undefined
  if (typeof value === "object" && value !== null && depth < MAX_JSON_DEPTH) {
    for (const key of Object.keys(value)) {
      const found = faultIn((value as Record<string, unknown>)[key], `${path}/${key}`, depth + 1)
      if (found !== undefined) return found
    }
  }
  return { path, why }
}

/**
 * Whether an action is one of the plain kinds that make up nearly every list, with exactly their keys, and surely valid. Checking the
 * others in full costs as much as all else in a step.
 */
function isOrdinary(action: DriverAction): boolean {
  switch (action.type) {
    case "advance_iteration":
      return hasKeys(action, 1)
    case "append_events":
      return hasKeys(action, 2) && isListOf(action.events, isOrdinaryRecord)
    case "emit": {
      const { event } = action
      if (!hasKeys(action, 2) || typeof event !== "object" || event === null) return false
      if (event.type === "text_delta" || event.type === "reasoning_delta") return hasKeys(event, 2) && typeof event.content === "string"
      return (
        event.type === "llm_response" &&
        hasKeys(event, 4) &&
        isCount(event.iteration) &&
        typeof event.content === "string" &&
        isCount(event.durationMs)
      )
    }
    case "start_llm":
      return hasKeys(action, 2) && requestFault(action.request, 0) === undefined
    case "start_tools":
      return hasKeys(action, 2) && isListOf(action.calls, isOrdinaryCall)
    case "start_checkpoint": {
      const isKnown = action.checkpoint === "after_work" || action.checkpoint === "before_completion"
      return hasKeys(action, 3) && isKnown && action.onEmpty?.type === "prepare_iteration" && hasKeys(action.onEmpty, 1)
    }
    default:
      return false
  }
}

function isOrdinaryRecord(record: HistoryRecord): boolean {
  if (record?.type !== "conversation" || !hasKeys(record, 2)) return false
  const { message } = record
  if (typeof message !== "object" || message === null || !hasKeys(message, 3)) return false
  const { id, role, parts } = message
  return typeof id === "string" && ROLES.has(role) && isListOf(parts, isOrdinaryPart)
}

const ROLES: ReadonlySet<unknown> = new Set(["user", "assistant", "system", "event"])

function isOrdinaryPart(part: Part): boolean {
  if (typeof part !== "object" || part === null || typeof part.id !== "string") return false
  switch (part.type) {
    case "text":
      return hasKeys(part, 3) && typeof part.text === "string"
    case "tool_call":
      return hasKeys(part, 5) && typeof part.callId === "string" && typeof part.toolName === "string" && typeof part.inputJson === "string"
    case "tool_result":
      if (!(typeof part.callId === "string" && typeof part.toolName === "string" && typeof part.text === "string")) return false
      return part.isError === true ? hasKeys(part, 6) : hasKeys(part, 5)
    default:
      return false
  }
}

function isOrdinaryCall(call: PendingToolCall): boolean {
  if (typeof call !== "object" || call === null || !hasKeys(call, 3)) return false
  return typeof call.callId === "string" && typeof call.toolName === "string" && whyNotJson(call.args) === undefined
}

/** Whether a value is a plain list of such items, without holes: `every` passes over them. */
function isListOf<Item>(value: readonly Item[], isItem: (item: Item) => boolean): boolean {
  if (!Array.isArray(value) || hasToJson(value)) return false
  for (let index = 0; index < value.length; index += 1) if (!Object.hasOwn(value, index) || !isItem(value[index])) return false
  return true
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** Whether a value is a plain object with so many keys. */
function hasKeys(value: object, count: number): boolean {
  let keys = 0
  for (const _key in value) keys += 1
  return keys === count && Object.getPrototypeOf(value) === Object.prototype && !hasToJson(value)
}

/** Also one that no loop over keys shows. `JSON.stringify` would write what it returns. */
function hasToJson(value: object): boolean {
  return (value as { readonly toJSON?: unknown }).toJSON !== undefined
}
