import { type ScriptedModelAnswer, scriptedModel } from "turn-machine/testing"

/** A model without a key. It reads a note, adds two numbers, writes the sum, and answers. */
export function model(folder: string): ReturnType<typeof scriptedModel> {
  const call = (toolName: string, args: { readonly [name: string]: string | number }): ScriptedModelAnswer => ({ toolCalls: [{ toolName, args }] })
  return scriptedModel([
    call("files__read_text_file", { path: `${folder}/prices.md` }),
    call("demo__get-sum", { a: 2, b: 40 }),
    call("files__write_file", { path: `${folder}/sum.md`, content: "42 euros" }),
    "The sum is 42 euros. It is in sum.md.",
  ])
}
