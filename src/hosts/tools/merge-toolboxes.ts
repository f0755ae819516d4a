import type { ExternalCall } from "../../wire/approval.ts"
import type { PendingToolCall, ToolSpec } from "../../wire/tool.ts"
import type { Host } from "../host.ts"
import { kindOf } from "./definition-checks.ts"
import { ToolDefinitionError } from "./tool-definition-error.ts"
import { failed, type Toolbox, unknownTool } from "./toolbox.ts"

/** A toolbox whose tools may change while a turn runs: `specs` are those of the last refresh. */
export interface LiveToolbox extends Toolbox {
  /**
   * Reads the tools again, if they may have changed. Concurrent calls share one read. If it rejects, the tools stay as they were. The signal
   * ends the wait.
   */
  refresh(signal?: AbortSignal): Promise<void>
  /**
   * Whether a call is of one of these tools, also of one that is gone. `tool`: as the model was shown it. Pure, and the same in every process:
   * it decides whose `approvals` a call has, which a replay asks again.
   */
  owns(call: Pick<PendingToolCall, "toolName">, tool?: ToolSpec): boolean
}

/**
 * Combines toolboxes into one: the tools of a program with those of MCP servers. Tools that cannot change come first. The names of all tools
 * differ; where a tool appears later with the name of another one, it is left out.
 *
 *     const tools = mergeToolboxes([toolbox([clock]), files, web])
 *     const host = { llmCall, tools, syncExecutionSurface: syncTools(tools, systemPrompt) }
 *
 * @throws {ToolDefinitionError} `not_a_tool`: not a list of toolboxes; `duplicate_tool`
 */
export function mergeToolboxes(toolboxes: readonly Toolbox[]): LiveToolbox {
  checkToolboxes(toolboxes)
  const live = toolboxes.filter(isLive)
  const boxes = [...toolboxes.filter((box) => !isLive(box)), ...live]
  let known = snapshot(boxes)
  const current = (): Snapshot => {
    if (!known.isOf(boxes)) known = snapshot(boxes)
    return known
  }
  /** The toolbox of a call, also of a tool that is gone. A replay has the same answer, whatever tools there are now. */
  const ownerOf = (call: Pick<PendingToolCall, "toolName">, tool?: ToolSpec): Toolbox | undefined =>
    known.fixed.get(call.toolName) ?? live.find((box) => box.owns(call, tool))
  const boxOf = (call: PendingToolCall): Toolbox | undefined => current().owners.get(call.toolName) ?? ownerOf(call)
  return {
    get specs() {
      return current().specs
    },
    approvals: (call, facts) => ownerOf(call, facts.tool)?.approvals(call, facts) ?? "run",
    async call(call, context) {
      const box = boxOf(call)
      return box === undefined ? failed(unknownTool(call.toolName, [...current().owners.keys()])) : box.call(call, context)
    },
    asks: (toolName) => (current().owners.get(toolName) ?? ownerOf({ toolName }))?.asks(toolName) ?? false,
    effects: (call) => boxOf(call)?.effects(call) ?? "idempotent",
    recover: async (call, context) => boxOf(call)?.recover(call, context),
    resume: async (call: ExternalCall, context) => boxOf(call)?.resume(call, context),
    cancel: async (call, context) => boxOf(call)?.cancel(call, context),
    refresh: async (signal) => {
      await Promise.all(live.map((box) => box.refresh(signal)))
    },
    owns: (call, tool) => ownerOf(call, tool) !== undefined,
  }
}

/**
 * `Host.syncExecutionSurface` for tools that change: before each iteration it refreshes the tools and returns them. The config needs
 * `syncExecutionSurface: true`. If a refresh fails, the tools stay as they were: a turn does not end because a server is away.
 */
export function syncTools(tools: LiveToolbox, systemPrompt: string): NonNullable<Host["syncExecutionSurface"]> {
  return async (_effect, { signal, isFatal }) => {
    try {
      await tools.refresh(signal)
    } catch (error) {
      if (isFatal?.(error) === true) throw error
    }
    return { systemPrompt, tools: tools.specs }
  }
}

interface Snapshot {
  readonly specs: readonly ToolSpec[]
  /** The toolbox of each tool, by name: of those that cannot change, and of all. */
  readonly fixed: ReadonlyMap<string, Toolbox>
  readonly owners: ReadonlyMap<string, Toolbox>
  /** Whether no toolbox has had other tools since. */
  isOf(boxes: readonly Toolbox[]): boolean
}

function snapshot(boxes: readonly Toolbox[]): Snapshot {
  const lists = boxes.map(({ specs }) => specs)
  // Maps, because a model may call a tool named "constructor".
  const fixed = new Map<string, Toolbox>()
  const owners = new Map<string, Toolbox>()
  const specs: ToolSpec[] = []
  for (const [index, box] of boxes.entries()) {
    for (const spec of lists[index] ?? []) {
      if (owners.has(spec.name)) continue
      owners.set(spec.name, box)
      if (!isLive(box)) fixed.set(spec.name, box)
      specs.push(spec)
    }
  }
  return { specs, fixed, owners, isOf: (current) => current.every((box, index) => box.specs === lists[index]) }
}

function checkToolboxes(toolboxes: readonly Toolbox[]): void {
  if (!Array.isArray(toolboxes)) throw new ToolDefinitionError("not_a_tool", "mergeToolboxes takes a list: mergeToolboxes([toolbox([add]), files]).")
  const names = new Set<string>()
  for (const [index, box] of toolboxes.entries()) {
    if (!Array.isArray((box as Partial<Toolbox> | undefined)?.specs))
      throw new ToolDefinitionError("not_a_tool", `Item ${index} given to mergeToolboxes is ${kindOf(box)}, not a toolbox.`)
    for (const { name } of box.specs) {
      if (names.has(name))
        throw new ToolDefinitionError("duplicate_tool", `Two toolboxes have a tool named "${name}". Give the toolbox of an MCP server a prefix.`)
      names.add(name)
    }
  }
}

function isLive(box: Toolbox): box is LiveToolbox {
  return "owns" in box
}
