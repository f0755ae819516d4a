import { isRecord, stringOf, textOf } from "../wires/values.ts"

/** The longest text that stands for a block, in UTF-16 code units. */
const LIMIT = 4_000

/**
 * Returns what another model reads in the place of a block that only its provider understands; `undefined`: nothing. The model that wrote
 * it gets the block itself.
 */
export function opaqueText(block: Readonly<Record<string, unknown>>): string | undefined {
  const type = stringOf(block["type"])
  if (type === "compaction") return stringOf(block["content"]) || undefined
  if (type === "server_tool_use" || type === "mcp_tool_use")
    return `[Called ${stringOf(block["name"])}: ${shortened(textOf(block["input"]) ?? "{}")}]`
  if (!type.endsWith("_tool_result")) return undefined
  const text = contentText(block["content"])
  return `[Result of ${type.replace(/_tool_result$/, "")}${text === "" ? "" : `: ${shortened(text)}`}]`
}

/** The readable texts of a result: its output, or the titles and addresses of what was found. */
function contentText(content: unknown): string {
  if (typeof content === "string") return content
  if (Array.isArray(content))
    return (content as readonly unknown[])
      .map(contentText)
      .filter((text) => text !== "")
      .join("\n")
  if (!isRecord(content)) return ""
  const texts = ["error_code", "title", "url", "text", "stdout", "stderr"].map((key) => stringOf(content[key]))
  return [...texts, contentText(content["content"])].filter((text) => text !== "").join(" ")
}

function shortened(text: string): string {
  return text.length <= LIMIT ? text : `${text.slice(0, LIMIT)}…`
}
