// Models behind servers that do not parse reasoning write it into their text: in tags, in `[THINK]`, or in the channels of harmony.

const NAME = "(?:[a-z]+:)?(?:think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad)"
/** A pattern of what opens reasoning. Case does not matter. */
export const REASONING_OPENING: string = `<${NAME}(?:\\s[^<>]{0,200})?>|\\[think\\]|◁think▷|<\\|channel\\|>(?:analysis|commentary)`
/** A pattern of what closes it. Case does not matter. */
export const REASONING_CLOSING: string = `</${NAME}\\s*>|\\[/think\\]|◁/think▷|<\\|channel\\|>final`

/**
 * Returns where the reasoning at the beginning of a text ends; 0 without any. Reasoning that is not closed is the whole text. A closing
 * mark that begins a line, without an opening one, ends reasoning that the prompt's template opened.
 */
export function reasoningEnd(text: string): number {
  const opened = new RegExp(`^\\s*(?:${REASONING_OPENING})`, "i").exec(text)
  const closing = new RegExp(opened === null ? `^[ \\t]*(?:${REASONING_CLOSING})` : REASONING_CLOSING, "gim")
  closing.lastIndex = opened?.[0].length ?? 0
  const closed = closing.exec(text)
  if (closed !== null) return closing.lastIndex
  return opened === null ? 0 : text.length
}
