import { CliError } from "./errors.ts"
import type { Io, Output } from "./io.ts"

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
  return { ...io, stdout: { write: (text) => io.stdout.write(text) }, env: { ...io.env, NO_COLOR: "1" } }
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
    // Ends lines and a status that nobody saw.
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
