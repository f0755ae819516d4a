import { costOf } from "../../hosts/models/prices.ts"
import { parseJson } from "../../json.ts"
import { tokensOf } from "../../machine/limits.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { isCompaction } from "../../projectors/view.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { Outcome, TurnEvent } from "../../wire/event.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import { plainHeld } from "../approvals/commands.ts"
import type { ShownServer } from "../mcp/servers.ts"
import { shownUrl } from "../model/model-settings.ts"
import type { StoredPrices } from "../model/prices.ts"
import { plainJson } from "../terminal/format.ts"
import type { Output } from "../terminal/io.ts"
import type { Written } from "../workspace/out-folder.ts"
import { SUSPENDED_EXIT_CODE } from "./help.ts"
import type { RunSettings } from "./run-settings.ts"

/** Shows the progress and the result of a run. */
export interface Reporter {
  started(settings: RunSettings, facts: RunStart): void
  event(event: TurnEvent): void
  /** The turn ended. */
  ended(facts: RunEnd): void
  /** The process stops; the turn can be resumed from its state file. */
  paused(facts: RunPause): void
  /** The process stops; calls wait for a decision. */
  suspended(facts: RunSuspension): void
  /** A person is asked now: about a call, or what to do. */
  asking(call?: HeldCall): void
  /** The process stops because of an error. */
  failed(message: string): void
}

export interface RunStart {
  readonly state?: string
  /** The iteration at which a saved turn resumes, from 0. Absent: it is a new one. */
  readonly resumedAt?: number
  /** The MCP servers that were started. Absent: none. */
  readonly servers?: readonly ShownServer[]
}

export interface RunSuspension extends RunPause {
  readonly held: readonly HeldCall[]
  readonly pending: readonly ExternalCall[]
}

export interface RunEnd {
  readonly outcome: Outcome
  readonly totals: RunTotals
  readonly durationMs: number
  readonly exitCode: number
  /** Whether an earlier process finished the turn, so that this one only shows its result again. */
  readonly again: boolean
}

export interface RunPause {
  readonly state: string
  readonly totals: RunTotals
  readonly durationMs: number
}

/** The totals of a turn over all processes that ran it. */
export interface RunTotals {
  readonly iterations: number
  readonly modelCalls: number
  readonly toolCalls: number
  readonly usage: TokenUsage
  /** In millionths of a dollar. Absent: the prices are not known, or no tokens were reported. */
  readonly costMicros?: number
  /** Files written, relative to the output folder, in the order in which they were first written. */
  readonly files: readonly string[]
}

/** Whether models answered and their endpoint reported no tokens: what they cost is then not known, and not nothing. */
export function isUnreported({ modelCalls, usage }: Pick<RunTotals, "modelCalls" | "usage">): boolean {
  return modelCalls > 0 && tokensOf(usage) + usage.cachedInputTokens === 0
}

/** Computes the totals of a turn from its messages. */
export function totalsOf(machine: TurnMachine, prices?: StoredPrices): RunTotals {
  let modelCalls = 0
  let toolCalls = 0
  for (const { role, parts } of machine.messages) {
    if (role === "assistant") modelCalls += 1
    toolCalls += parts.filter(({ type }) => type === "tool_result").length
  }
  // The summary of a compaction is not a message of the transcript.
  for (const record of machine.history) if (record.type === "protocol" && isCompaction(record.event)) modelCalls += 1
  // Iterations count from 0. A turn that reached its limit points at the one that was not allowed.
  const { outcome, iteration } = machine
  const atLimit = outcome?.type === "stopped" && outcome.stop.type === "max_iterations"
  const { usage } = machine
  return {
    iterations: atLimit ? iteration : iteration + 1,
    modelCalls,
    toolCalls,
    usage,
    ...(prices !== undefined && !isUnreported({ modelCalls, usage }) && { costMicros: costOf(usage, prices) }),
    files: writtenFiles(machine.messages),
  }
}

/** The files that the tool calls in some messages wrote, relative to the output folder. */
export function writtenFiles(messages: Iterable<TurnMachine["messages"][number]>): readonly string[] {
  const files = new Set<string>()
  for (const { parts } of messages) {
    for (const part of parts) {
      const value = part.type === "tool_result" && part.toolName === "write_file" ? parseJson(part.text) : undefined
      if (typeof value === "object" && value !== null) files.add((value as unknown as Written).path)
    }
  }
  return [...files]
}

/**
 * Reports a run as JSON, one object per line: `run_started`, then the turn's events as they happen, and last exactly one of
 * `run_ended`, `run_paused`, `run_suspended` and `run_failed`. The `type`s do not change between versions; keys may be added.
 */
export function jsonLines(output: Output): Reporter {
  const write = (value: object): void => void output.write(`${plainJson(value)}\n`)
  return {
    started({ task, dir, out, model, maxIterations, contextTokens, prices }, { state, resumedAt, servers }) {
      const endpoint = model.type === "endpoint" ? { provider: model.provider, baseUrl: shownUrl(model.baseUrl) } : {}
      write({
        type: "run_started",
        task,
        dir,
        out,
        model: model.name,
        ...endpoint,
        maxIterations,
        contextTokens,
        prices,
        state,
        resumed: resumedAt !== undefined,
        servers,
      })
    },
    event: write,
    ended: ({ outcome, totals, durationMs, exitCode }) =>
      write({ type: "run_ended", outcome, ...totals, durationMs: Math.round(durationMs), exitCode }),
    paused: ({ state, totals, durationMs }) => write({ type: "run_paused", state, ...totals, durationMs: Math.round(durationMs) }),
    suspended: ({ state, held, pending, totals, durationMs }) =>
      write({
        type: "run_suspended",
        state,
        held: held.map((call) => plainHeld(call, state)),
        pending,
        ...totals,
        durationMs: Math.round(durationMs),
        exitCode: SUSPENDED_EXIT_CODE,
      }),
    asking() {},
    failed: (message) => write({ type: "run_failed", message }),
  }
}
