/** A command that is not plain words. */
export class CommandSyntaxError extends Error {
  constructor(message: string) {
    super(message)
    this.name = "CommandSyntaxError"
  }
}

/** What only a shell understands, outside of quotes. */
const SHELL_CHARACTERS: Readonly<Record<string, string>> = {
  "|": "a pipe",
  "&": "an ampersand",
  ";": "a semicolon",
  "\n": "a line break",
  "<": "a redirect",
  ">": "a redirect",
  "(": "a parenthesis",
  ")": "a parenthesis",
  "`": "a command substitution",
  $: "an expansion",
  "*": "a pattern",
  "?": "a pattern",
  "[": "a pattern",
}

/**
 * Splits a command into a program and its arguments as a POSIX shell splits plain words: at spaces and tabs, except in quotes and after a
 * backslash. A backslash is literal in single quotes; in double quotes it escapes only `"`, `\`, `$` and a backquote.
 * @throws {CommandSyntaxError} the command needs a shell, has an open quote, or is empty
 */
export function splitCommand(command: string): readonly [program: string, ...args: string[]] {
  const words: string[] = []
  /** `undefined` between two words. An empty quoted word is a word. */
  let word: string | undefined
  /** Whether the word has a quoted or escaped character, so that it is not a keyword or an assignment of a shell. */
  let isLiteral = false
  const refuse = (what: string): never => {
    throw new CommandSyntaxError(
      `The command ${JSON.stringify(command)} has ${what}, which only a shell understands. Run it with a shell, or quote it.`,
    )
  }
  const end = (): void => {
    if (word === undefined) return
    if (!isLiteral && words.length === 0 && /^[A-Za-z_]\w*\+?=/.test(word)) refuse("an assignment before its program")
    if (!isLiteral && words.length === 0 && word === "!") refuse("a negation")
    if (!isLiteral && /\{[^{}]*(,|\.\.)[^{}]*\}/.test(word)) refuse("braces with alternatives")
    words.push(word)
    word = undefined
    isLiteral = false
  }
  for (let index = 0; index < command.length; index += 1) {
    const character = command[index] ?? ""
    const what = SHELL_CHARACTERS[character]
    if (character === " " || character === "\t" || character === "\r") end()
    else if (character === "'") {
      const close = closing(command, index)
      word = (word ?? "") + command.slice(index + 1, close)
      isLiteral = true
      index = close
    } else if (character === '"') {
      const [text, close] = doubleQuoted(command, index, refuse)
      word = (word ?? "") + text
      isLiteral = true
      index = close
    } else if (character === "\\") {
      index += 1
      if (index >= command.length) throw new CommandSyntaxError(`The command ${JSON.stringify(command)} ends with a backslash that escapes nothing.`)
      word = (word ?? "") + command[index]
      isLiteral = true
    } else if (what !== undefined) refuse(what)
    else if (word === undefined && character === "~") refuse("a home folder as ~")
    else if (word === undefined && character === "#") refuse("a comment")
    else word = (word ?? "") + character
  }
  end()
  const [program, ...args] = words
  if (program === undefined || program === "") throw new CommandSyntaxError("The command is empty.")
  return [program, ...args]
}

/** The place of the quote that closes the one at a place. */
function closing(command: string, open: number): number {
  const close = command.indexOf("'", open + 1)
  if (close < 0) throw openQuote(command)
  return close
}

function openQuote(command: string): CommandSyntaxError {
  return new CommandSyntaxError(`The command ${JSON.stringify(command)} has a quote that is not closed.`)
}

/** The text between double quotes, and the place of the closing one. */
function doubleQuoted(command: string, open: number, refuse: (what: string) => never): readonly [text: string, close: number] {
  let text = ""
  for (let index = open + 1; index < command.length; index += 1) {
    const character = command[index] ?? ""
    const next = command[index + 1] ?? ""
    if (character === '"') return [text, index]
    if (character === "$" || character === "`") refuse(SHELL_CHARACTERS[character] ?? "an expansion")
    if (character === "\\" && next !== "" && '"\\$`\n'.includes(next)) {
      // An escaped line break is nothing.
      text += next === "\n" ? "" : next
      index += 1
    } else text += character
  }
  throw openQuote(command)
}
