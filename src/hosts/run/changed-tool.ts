import { wireValidation } from "../../checks/validation.ts"
import { canonicalJson } from "../../json.ts"
import { checkedConfig, type TurnConfig } from "../../machine/config.ts"
import { quoted } from "../../text.ts"
import type { Decision, HeldCall } from "../../wire/approval.ts"
import type { ToolSpec } from "../../wire/tool.ts"

/** The tools of a turn: as its model was shown them, and as its host has them. `now` is `undefined` if that is not known. */
export interface TurnTools {
  readonly shown: readonly ToolSpec[]
  readonly now: readonly ToolSpec[] | undefined
}

/**
 * Returns why an approval or an edit does not count, for people: a turn continues with the tools that its model was shown, and the tool that
 * would run has another description or schema, or is missing. `undefined`: it counts. Any other decision does, because the call does not run.
 */
export function changedTool({ toolName, callId }: HeldCall, { decision }: Decision, { shown, now }: TurnTools): string | undefined {
  if (now === undefined || (decision !== "approve" && decision !== "edit")) return undefined
  const [before, after] = [shown, now].map((tools) => tools.find(({ name }) => name === toolName))
  if (before === undefined || (after !== undefined && canonicalJson(before) === canonicalJson(after))) return undefined
  const what = after === undefined ? "is missing now" : "changed"
  return `The tool ${quoted(toolName)} ${what}, and the call ${quoted(callId)} was asked about before. Reject it; the model can call the tool again.`
}

/** The tools that a host has now: those of its configuration. `undefined`: it syncs them during the turn. @throws {SchemaError} `invalid_config` */
export function toolsNow(config: TurnConfig): readonly ToolSpec[] | undefined {
  const { syncExecutionSurface, tools } = checkedConfig({ ...config, validation: config.validation ?? wireValidation })
  return syncExecutionSurface ? undefined : tools
}
