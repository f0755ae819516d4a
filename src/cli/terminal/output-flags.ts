import { CliError } from "./errors.ts"
import type { Io, Output, Terminal } from "./io.ts"

/** How a command that shows its progress writes. */
export const OUTPUT_FLAGS = {
  json: { type: "boolean" },
  plain: { type: "boolean" },
  quiet: { type: "boolean", short: "q" },
} as const

/** @throws {CliError} more than one of them */
export function checkOutputFlags(flags: { readonly [Name in keyof typeof OUTPUT_FLAGS]?: boolean }): void {
  const given = (["json", "plain", "quiet"] as const).filter((name) => flags[name] === true).map((name) => `--${name}`)
  if (given.length > 1) throw new CliError(`${given.join(" and ")} are different forms of the output. Choose one.`)
}

/** For screen readers and logs: lines without colours, which are never written over. */
export function plainIo(io: Io): Io {
  return {
    ...io,
    ...(io.terminal !== undefined && { terminal: plainTerminal(io.terminal) }),
    stdout: { write: (text) => io.stdout.write(text) },
    env: { ...io.env, NO_COLOR: "1" },
  }
}

function plainTerminal(terminal: Terminal): Terminal {
  return {
    output: terminal.output,
    isPlain: true,
    key: (show, signal) => terminal.key(show, signal),
    line: (question, given, signal) => terminal.line(question, given, signal),
    run: (program, args) => terminal.run(program, args),
  }
}

/** The heading of a question: a line as wide as the terminal; in a plain terminal, only its words. */
export function heading(title: string, width: number, { isPlain = false }: Terminal): string {
  if (isPlain) return `${title}:`
  const start = `── ${title} `
  return `${start}${"─".repeat(Math.max(2, width - start.length))}`
}

/** An output that writes nothing until it is opened. */
export function silenced(output: Output): { readonly output: Output; open(): void } {
  let isOpen = false
  return {
    output: {
      ...(output.isTTY !== undefined && { isTTY: output.isTTY }),
      ...(output.columns !== undefined && { columns: output.columns }),
      write: (text) => (isOpen ? output.write(text) : undefined),
    },
    open() {
      isOpen = true
    },
  }
}
