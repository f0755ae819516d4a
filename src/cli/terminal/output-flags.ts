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

/**
 * For `--quiet`: a reporter that writes nothing until one of the methods `ends` is called. It sees all that happened, because its end may
 * need it. `instead`: methods that do something else than those of the reporter.
 */
export function silentUntil<Reporter extends { asking(): void }>(
  output: Output,
  make: (output: Output) => Reporter,
  ends: readonly (keyof Reporter & string)[],
  instead: Partial<Reporter> = {},
): Reporter {
  let isOpen = false
  const reporter = make({
    get isTTY() {
      return output.isTTY === true
    },
    get columns() {
      return output.columns ?? 0
    },
    write: (text) => (isOpen ? output.write(text) : undefined),
  })
  const open = (): void => {
    // Ends lines and a status that were not written.
    reporter.asking()
    isOpen = true
  }
  return new Proxy(reporter, {
    get: (_target, name) => {
      const member: unknown = Reflect.get(instead, name) ?? Reflect.get(reporter, name, reporter)
      if (typeof member !== "function") return member
      return (...args: readonly unknown[]): unknown => {
        if (ends.some((end) => end === name)) open()
        return Reflect.apply(member, reporter, args)
      }
    },
  })
}
