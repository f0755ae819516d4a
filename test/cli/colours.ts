import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fill, newFolder, type Ran, runCli } from "./harness.ts"

/** A folder in which three lines have the word. */
export function newColours(): string {
  return fill(newFolder(), { "shop/a.txt": "the colour of x\nb\ncolour again\n", "shop/b.txt": "colour\r\nkeep\r\n" })
}

export function textOf(base: string, name: string): string {
  return readFileSync(join(base, "shop", name), "utf8")
}

/** A command whose three changes are held, and the folder in which it suspended. */
export interface SuspendedCommand {
  readonly base: string
  readonly ran: Ran
  run(...args: readonly string[]): Promise<Ran>
}

export async function suspendedCommand(args: readonly string[]): Promise<SuspendedCommand> {
  const base = newColours()
  const ran = await runCli(args, { cwd: base })
  return { base, ran, run: (...more) => runCli(more, { cwd: base }) }
}
