import { describe, expect, test } from "vitest"
import { CommandSyntaxError, splitCommand } from "../../../src/hosts/node/split-command.ts"

describe("a command that is one text", () => {
  test.each<[command: string, words: readonly string[]]>([
    ["npm test", ["npm", "test"]],
    ["  npm \t run   check ", ["npm", "run", "check"]],
    ["node -e 'process.exit(1)'", ["node", "-e", "process.exit(1)"]],
    ['grep "a b" file', ["grep", "a b", "file"]],
    ["echo ''", ["echo", ""]],
    [`echo a"b"'c'd`, ["echo", "abcd"]],
    ["echo a\\ b", ["echo", "a b"]],
    ["echo \\* \\$HOME '*' '$HOME|&'", ["echo", "*", "$HOME", "*", "$HOME|&"]],
    ['echo "a\\"b\\\\c\\n"', ["echo", 'a"b\\c\\n']],
    ["env A=1 make B=2", ["env", "A=1", "make", "B=2"]],
    ["find . -name {} a~b a#b", ["find", ".", "-name", "{}", "a~b", "a#b"]],
    ["'A=1' x", ["A=1", "x"]],
  ])("%s", (command, words) => {
    expect(splitCommand(command)).toEqual(words)
  })

  test.each([
    ["npm test | tee log", "a pipe"],
    ["npm test && npm run build", "an ampersand"],
    ["npm test; true", "a semicolon"],
    ["npm test > log", "a redirect"],
    ["cat < log", "a redirect"],
    ["echo $HOME", "an expansion"],
    ['echo "$HOME"', "an expansion"],
    ["echo `date`", "a command substitution"],
    ["ls *.ts", "a pattern"],
    ["ls a?", "a pattern"],
    ["ls [ab]", "a pattern"],
    ["(npm test)", "a parenthesis"],
    ["cp a.{ts,js} b", "braces"],
    ["ls ~", "a home folder"],
    ["ls # all", "a comment"],
    ["CI=1 npm test", "an assignment"],
    ["! npm test", "a negation"],
    ["npm test\nnpm run build", "a line break"],
    ["echo 'open", "a quote that is not closed"],
    ['echo "open', "a quote that is not closed"],
    ["echo a\\", "a backslash"],
    ["  ", "empty"],
    ["''", "empty"],
  ])("%s is refused: %s", (command, why) => {
    expect(() => splitCommand(command)).toThrow(CommandSyntaxError)
    expect(() => splitCommand(command)).toThrow(why)
  })
})
