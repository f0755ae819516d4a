import { resolve } from "node:path"
import { checkDefault } from "../run/run-settings.ts"
import { oneLine, shellWord } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { OwnStates } from "../trust/own-states.ts"
import { GoalFolder } from "./goal-folder.ts"
import { DEFAULT_STATE } from "./help.ts"

/** Finds the folder that the flags name, or the default one. @throws {CliError} */
export async function folderOf(flags: { readonly state?: string | undefined }, io: Io): Promise<GoalFolder> {
  const path = resolve(io.cwd, flags.state ?? DEFAULT_STATE)
  if (flags.state === undefined) await checkDefault(path, "--state")
  return GoalFolder.find(path, new OwnStates(io.env))
}

/** The flag that names a goal's folder, with a space before it; empty where it is the default. */
export function stateFlag({ state }: { readonly state?: string | undefined }): string {
  return state === undefined ? "" : ` --state ${shellWord(oneLine(state))}`
}

/** Prints the result of a request. Returns the exit code. */
export function printResult({ ok, message }: { readonly ok: boolean; readonly message: string }, io: Io): number {
  if (ok) io.stdout.write(`${oneLine(message)}\n`)
  else io.stderr.write(`turn-machine: ${oneLine(message)}\n`)
  return ok ? 0 : 1
}
