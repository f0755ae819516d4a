/** Joins two texts with an empty line between them, of which existing newlines are a part. */
export function joinTexts(before: string, after: string): string {
  if (before === "" || after === "") return before + after
  const trailing = before.endsWith("\n\n") ? 2 : before.endsWith("\n") ? 1 : 0
  const leading = after.startsWith("\n\n") ? 2 : after.startsWith("\n") ? 1 : 0
  return `${before}${"\n".repeat(Math.max(0, 2 - trailing - leading))}${after}`
}
