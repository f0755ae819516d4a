import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { codeDriver } from "../../drivers/code.ts"
import { TurnError } from "../../errors.ts"
import { pricesOf, type TokenPrices } from "../../hosts/models/prices.ts"
import { goalConfig } from "../../hosts/thread/config.ts"
import { checkDriver, type TurnConfig } from "../../machine/config.ts"
import { chatProjector } from "../../projectors/chat.ts"
import type { AgentSpec, GoalSpec, ViewedTurn } from "../../viewer/data.ts"
import { configOf } from "../../viewer/model/agent.ts"
import { recoveredAgent, recoveredData } from "../../viewer/model/recovered.ts"
import { storedSteps } from "../../viewer/model/stored-steps.ts"
import { TurnReplay } from "../../viewer/model/turn-replay.ts"
import type { JournalHeader } from "../../wire/journal.ts"
import { goalOptions, readGoalMeta } from "../goal/goal-config.ts"
import { readRunMeta, recordedConfig } from "../run/run-config.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { FoundJournal } from "./files.ts"

/** The configuration of a turn that the user's module gives; `undefined`: it has none for this turn. */
export type GivenAgent = (header: JournalHeader) => TurnConfig | undefined

/**
 * Loads the module of `--agent`. Its default export, or its export `config`, is the turn's configuration, or a function of the journal's header
 * that returns one.
 * @throws {CliError}
 */
export async function loadAgent(word: string, cwd: string): Promise<GivenAgent> {
  const shown = oneLine(word)
  let loaded: { readonly default?: unknown; readonly config?: unknown }
  try {
    loaded = (await import(pathToFileURL(resolve(cwd, word)).href)) as typeof loaded
  } catch (error) {
    throw new CliError(`The module ${shown} of --agent cannot be loaded: ${oneLine(error instanceof Error ? error.message : String(error))}.`)
  }
  const given = loaded.default ?? loaded.config
  if (given === undefined || given === null || (typeof given !== "function" && typeof given !== "object"))
    throw new CliError(
      `The module ${shown} of --agent needs a default export: the turn's configuration, or a function of the header that returns it.`,
    )
  return (header) => {
    const config = (typeof given === "function" ? calledWith(given as (header: JournalHeader) => unknown, header, shown) : given) as
      | TurnConfig
      | undefined
    if (config !== undefined) checkDriver(config.driver)
    return config
  }
}

function calledWith(given: (header: JournalHeader) => unknown, header: JournalHeader, shown: string): unknown {
  try {
    return given(header)
  } catch (error) {
    throw new CliError(`The function of the module ${shown} of --agent threw: ${oneLine(error instanceof Error ? error.message : String(error))}.`)
  }
}

type Knowledge = Pick<ViewedTurn, "agent" | "steps" | "note" | "model" | "prices">

/**
 * What a page has to know the states and requests of a turn: a description of its configuration, where driver and projector are the package's,
 * otherwise what a replay computes here. `isRedacted`: the page cannot replay, because what it has of the answers is not what they were.
 */
export function knowledgeOf(found: FoundJournal, given: GivenAgent | undefined, isRedacted: boolean): Knowledge {
  const { journal } = found
  const { header } = journal
  try {
    const config = given?.(header)
    if (config !== undefined) return { ...pricesFor(config.model), ...computed(found, config) }
    const own = ownAgent(found)
    if (own !== undefined) {
      const known = { model: own.config.model, ...(own.prices === undefined ? pricesFor(own.config.model) : { prices: own.prices }) }
      return { ...known, ...(own.agent === undefined || isRedacted ? computed(found, own.config) : { agent: own.agent }) }
    }
    const agent = recoveredAgent(journal, recoveredGoal(found))
    if (agent === undefined && header.driver.name === "code") {
      const { data, unknown } = recoveredData(journal)
      return computed(found, { ...data, driver: codeDriver(), projector: chatProjector }, unknown)
    }
    if (agent === undefined && header.driver.name.startsWith("goal(") && found.thread?.begun.has(header.turnId) !== true)
      return {
        note: "The log of its thread is not beside it, cannot be read, or does not have this turn. Pass --agent to show states and requests, too.",
      }
    if (agent === undefined)
      return { note: `The driver ${oneLine(header.driver.name)} is not known here. Pass --agent to show states and requests, too.` }
    const { model } = agent.data
    const known = agent.unknown?.includes("model") === true ? {} : pricesFor(model)
    return { ...known, ...(isRedacted ? computed(found, configOf(agent), agent.unknown) : { agent }) }
  } catch (error) {
    if (!(error instanceof TurnError || error instanceof TypeError)) throw error
    // A message may quote what is in the journal.
    return { note: isRedacted ? `The turn cannot be replayed: ${error instanceof TurnError ? error.code : error.name}.` : oneLine(error.message) }
  }
}

function pricesFor(model: string): { readonly model: string; readonly prices?: TokenPrices } {
  const prices = pricesOf(model)
  if (prices === undefined) return { model }
  const { asOf: _day, source: _page, ...tokens } = prices
  return { model, prices: tokens }
}

function computed({ journal }: FoundJournal, config: TurnConfig, unknown?: readonly string[]): Pick<Knowledge, "steps"> {
  return { steps: storedSteps(new TurnReplay(journal, config, unknown), journal) }
}

interface OwnAgent {
  readonly config: TurnConfig
  /** Absent: the page cannot make the driver, because its policy is code. */
  readonly agent?: AgentSpec
  readonly prices?: TokenPrices
}

/** The configuration of a turn that this program ran, as `turn-machine run` or `goal`. */
function ownAgent({ journal: { header }, thread }: FoundJournal): OwnAgent | undefined {
  const run = readRunMeta(header.meta)
  if (typeof run === "object") {
    const config = recordedConfig(run, header.surface.tools)
    return { config, ...(run.prices !== undefined && { prices: run.prices }), ...described(config) }
  }
  const meta = readGoalMeta(thread?.meta)
  const begun = thread?.begun.get(header.turnId)
  if (typeof meta === "string" || thread === undefined || begun === undefined) return undefined
  const { turnId, origin, at: startedAt, goals } = begun
  const options = goalOptions(meta)
  const turn = { turnId, origin, startedAt }
  const { threadId } = thread.viewed
  const config = goalConfig(threadId, turn, { ...options, goals: goals !== false })
  const inner = goalConfig(threadId, turn, { ...options, goals: false })
  const prices = meta.prices === undefined ? {} : { prices: meta.prices }
  const goal: GoalSpec = { threadId, ...turn, policy: options.policy ?? {}, ...prices }
  const { agent } = described(inner)
  return { config, ...prices, ...(agent !== undefined && { agent: goals === false ? agent : { ...agent, goal } }) }
}

/** Describes a configuration of `turn-machine run`; nothing if its driver holds calls, by a policy that is code. */
function described({
  driver,
  projector: _projector,
  turnLimitMessage: _message,
  validation: _validation,
  ...data
}: TurnConfig): Pick<OwnAgent, "agent"> {
  if (driver.name !== "chat" && driver.name !== "compacting(chat)") return {}
  return { agent: { driver: driver.name, projector: driver.name === "chat" ? "chat" : "view", data } }
}

/** The goal driver of a thread that another program ran, with the default policy. */
function recoveredGoal({ journal: { header }, thread }: FoundJournal): GoalSpec | undefined {
  const begun = thread?.begun.get(header.turnId)
  if (thread === undefined || begun === undefined || !header.driver.name.startsWith("goal(")) return undefined
  const { turnId, origin, at: startedAt } = begun
  return { threadId: thread.viewed.threadId, turnId, origin, startedAt, policy: {} }
}
