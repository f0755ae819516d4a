import { fill, newFolder, runCli, TestTerminal } from "../cli/harness.ts"

/** What a person sees when the command line asks about a change, in a terminal of 80 columns: the screens of the docs (`text screen`). */
export async function approvalScreen(): Promise<string> {
  const cwd = fill(newFolder(), { "src/cart.js": "// TODO: say what a cart is\nexport const cart = []\n" })
  const terminal = new TestTerminal(["s"])
  const flags = { cwd, terminal, isTTY: true, env: { NO_COLOR: "1" } }
  await runCli(["run", "--edit", "--state", "run.json", 'Replace "TODO" with "LATER"'], flags)
  return terminal.shown.slice(terminal.shown.indexOf("── approval")).split("decide later")[0] ?? ""
}
