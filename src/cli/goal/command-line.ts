import { parseArgs } from "node:util"
import { didYouMean, type FlagSpecs, readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import { type Flags, GOAL_FLAGS } from "./goal-settings.ts"

const HELP = { help: { type: "boolean", short: "h" } } as const
const STATE = { state: { type: "string" }, ...HELP } as const
const JSON_FLAG = { json: { type: "boolean" } } as const

/** The flags of each command of `turn-machine goal`. `start` has no name on the command line. */
export const COMMAND_FLAGS = {
  start: GOAL_FLAGS,
  resume: {
    ...GOAL_FLAGS,
    "add-tokens": { type: "string" },
    "add-time": { type: "string" },
    "add-cost": { type: "string" },
    "no-run": { type: "boolean" },
  },
  status: { ...STATE, ...JSON_FLAG, all: { type: "boolean" } },
  watch: { ...STATE, ...JSON_FLAG, plain: { type: "boolean" } },
  pause: { ...STATE, now: { type: "boolean" } },
  say: { ...STATE, when: { type: "string" } },
  queue: { ...STATE, ...JSON_FLAG },
  retract: STATE,
  edit: { ...STATE, contract: { type: "string" } },
  clear: STATE,
} as const

export type GoalCommandName = keyof typeof COMMAND_FLAGS

const NAMES = (Object.keys(COMMAND_FLAGS) as readonly GoalCommandName[]).filter((name) => name !== "start")
const ALL_FLAGS: FlagSpecs = Object.assign({}, ...Object.values(COMMAND_FLAGS))

/**
 * Finds the command in the arguments of `turn-machine goal`: the first word, also after flags. Without one, or after `--`, the words are an
 * objective.
 * @throws {CliError} a single word looks like a misspelt command: it must not start a goal
 */
export function findCommand(args: readonly string[]): { readonly name: GoalCommandName | "help"; readonly args: readonly string[] } {
  const { tokens } = parseArgs({ args: [...args], options: ALL_FLAGS, allowPositionals: true, strict: false, tokens: true })
  const end = tokens.find(({ kind }) => kind === "option-terminator")?.index ?? args.length
  const words = tokens.flatMap((token) => (token.kind === "positional" ? [token] : []))
  const [first] = words
  if (first === undefined || first.index > end) return { name: "start", args }
  const name = [...NAMES, "help" as const].find((known) => known === first.value)
  if (name !== undefined) return { name, args: args.filter((_arg, index) => index !== first.index) }
  const near = /\s/.test(first.value) || words.length > 1 ? "" : didYouMean(first.value, [...NAMES, "help"])
  if (near === "") return { name: "start", args }
  throw new CliError(`Unknown command goal ${oneLine(first.value)}.${near} If it is an objective: turn-machine goal -- ${oneLine(first.value)}`)
}

/** Parses the arguments of a command. @throws {CliError} a flag is unknown, is one of another command, or lacks its value */
export function readGoalArgs<Name extends GoalCommandName>(
  name: Name,
  args: readonly string[],
): { readonly flags: Flags<(typeof COMMAND_FLAGS)[Name]>; readonly words: readonly string[] } {
  const own: FlagSpecs = COMMAND_FLAGS[name]
  const help = helpCommand(name)
  const { tokens } = parseArgs({ args: [...args], options: ALL_FLAGS, allowPositionals: true, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind !== "option" || Object.hasOwn(own, token.name)) continue
    const owners = (Object.keys(COMMAND_FLAGS) as readonly GoalCommandName[]).filter((other) => Object.hasOwn(COMMAND_FLAGS[other], token.name))
    if (owners.length === 0) continue
    const list = listed(owners.map((owner) => (owner === "start" ? "goal" : `goal ${owner}`)))
    const how = name === "edit" && token.name === "check" ? " To replace the checks: turn-machine goal pause, then goal resume --check." : ""
    throw new CliError(`${token.rawName} is a flag of ${list}, not of ${name === "start" ? "goal" : `goal ${name}`}.${how} See: ${help}`)
  }
  const { values, words } = readArgs(args, own, help)
  return { flags: values as Flags<(typeof COMMAND_FLAGS)[Name]>, words }
}

export function helpCommand(name: GoalCommandName): string {
  return name === "start" ? "turn-machine goal --help" : `turn-machine goal ${name} --help`
}

/** `a, b and c`. */
function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`
}
