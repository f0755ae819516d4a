import { didYouMean, readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { sendRequest } from "./control/send-request.ts"
import { folderOf, printResult } from "./goal.ts"
import { SUBGOAL_HELP } from "./help.ts"
import { showList } from "./status.ts"

const ITEM_COMMANDS = ["done", "impossible", "undo", "remove"] as const
const COMMANDS = ["list", "add", ...ITEM_COMMANDS]

/** `turn-machine subgoal`. Returns the exit code. @throws {CliError} */
export async function subgoal(args: readonly string[], io: Io): Promise<number> {
  const specs = { state: { type: "string" }, help: { type: "boolean", short: "h" } } as const
  const { values: flags, words } = readArgs(args, specs, "turn-machine subgoal --help")
  const [command, ...rest] = words
  if (flags.help === true || command === undefined) {
    io.stdout.write(SUBGOAL_HELP)
    return 0
  }
  if (!COMMANDS.includes(command))
    throw new CliError(
      `Unknown command subgoal ${oneLine(command)}.${didYouMean(command, COMMANDS)} The commands are: ${COMMANDS.join(", ")}. See: turn-machine subgoal --help`,
    )
  const folder = await folderOf(flags, io)
  const { known, checklist } = await folder.readExisting()
  if (checklist === undefined) throw new CliError("This goal has no checklist: it was started without --judge checklist.")
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
  const [index, ...others] = rest
  const type = ITEM_COMMANDS.find((name) => name === command)
  if (index === undefined || others.length > 0 || type === undefined)
    throw new CliError(`subgoal ${command} takes the number of one item: turn-machine subgoal ${command} 2.`)
  return printResult(await sendRequest(folder, known, { type: `subgoal_${type}`, index }), io)
}
