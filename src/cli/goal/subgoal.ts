import { didYouMean, readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { sendRequest } from "./control/send-request.ts"
import { folderOf, printResult } from "./folder-flags.ts"
import { SUBGOAL_COMMAND_HELP, SUBGOAL_HELP } from "./help.ts"
import { showList } from "./status.ts"

const COMMANDS = ["list", "add", "done", "impossible", "undo", "remove", "clear"] as const

/** `turn-machine subgoal`. Returns the exit code. @throws {CliError} */
export async function subgoal(args: readonly string[], io: Io): Promise<number> {
  const specs = { state: { type: "string" }, help: { type: "boolean", short: "h" } } as const
  const { values: flags, words } = readArgs(args, specs, "turn-machine subgoal --help")
  const [given, ...rest] = words
  const command = COMMANDS.find((name) => name === given)
  if (flags.help === true || given === undefined) {
    printHelp(command === undefined ? SUBGOAL_HELP : SUBGOAL_COMMAND_HELP[command], io)
    return 0
  }
  if (command === undefined)
    throw new CliError(
      `Unknown command subgoal ${oneLine(given)}.${didYouMean(given, COMMANDS)} The commands are: ${COMMANDS.join(", ")}. See: turn-machine subgoal --help`,
    )
  const folder = await folderOf(flags, io)
  const { known, checklist } = await folder.readExisting()
  if (checklist === undefined || known.judge !== "checklist")
    throw new CliError("This goal has no checklist: it was started without --judge checklist.")
  if (command === "list") {
    if (rest.length > 0) throw new CliError("subgoal list takes no words.")
    showList(checklist, io)
    return 0
  }
  if (command === "add") {
    const text = rest.join(" ").trim()
    if (text === "") throw new CliError('subgoal add needs a text: turn-machine subgoal add "new item".')
    return printResult(await sendRequest(folder, known, { type: "subgoal_add", text }), io)
  }
  if (command === "clear") {
    if (rest.length > 0) throw new CliError("subgoal clear takes no words. To remove one item: turn-machine subgoal remove N.")
    return printResult(await sendRequest(folder, known, { type: "subgoal_clear" }), io)
  }
  const [index, ...others] = rest
  if (index === undefined || others.length > 0)
    throw new CliError(`subgoal ${command} takes the number of one item: turn-machine subgoal ${command} 2.`)
  return printResult(await sendRequest(folder, known, { type: `subgoal_${command}`, index }), io)
}
