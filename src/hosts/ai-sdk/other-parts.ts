import { type Json, parseJson } from "../../json.ts"
import { isRecord, jsonOf, stringOf } from "../../projectors/wires/values.ts"
import { wellFormed } from "../../projectors/wires/well-formed.ts"
import type { OpaqueBlock } from "../../wire/llm.ts"
import { base64 } from "../attachments/store.ts"
import { type FileForm, isImage, type StoredFile, storedFile } from "./files.ts"
import type { ProviderOptions } from "./language-model.ts"

/** What a model's answer contains besides text, reasoning and calls of our tools. The transcript has it as opaque parts. */
export type OtherKind = "tool-call" | "tool-result" | "file" | "reasoning-file" | "custom" | "source" | "citations" | "tool-approval-request"

/**
 * Reads such a part as the data of an opaque one, and as what another provider reads of it. `undefined`: it is not of the interface.
 * Preliminary results are left out, because a whole one follows.
 */
export function otherPart(
  part: Readonly<Record<string, unknown>>,
): { readonly kind: OtherKind; readonly data: Json; readonly text?: string } | undefined {
  const { providerMetadata: _metadata, ...content } = part
  switch (part["type"]) {
    case "tool-call":
    case "tool-result":
    case "source":
    case "custom":
    case "tool-approval-request": {
      const data = jsonOf(content)
      return data === undefined ? undefined : { kind: part["type"], data }
    }
    case "file":
    case "reasoning-file": {
      const file = fileIn(content)
      if (file === undefined) return undefined
      const text = `[${isImage(file.mediaType) ? "Image" : "File"}: ${file.mediaType}]`
      return { kind: part["type"], data: file as Json, ...(part["type"] === "file" && { text }) }
    }
    default:
      return undefined
  }
}

/** The file of a part: base64 or bytes (V3), or either of them or an address in an object (V4). */
function fileIn({ data, mediaType }: Readonly<Record<string, unknown>>): StoredFile | undefined {
  if (typeof mediaType !== "string" || mediaType === "") return undefined
  const tagged = isRecord(data) && !ArrayBuffer.isView(data) ? data : { type: "data", data }
  if (tagged["type"] === "url") return { mediaType, data: { url: String(tagged["url"]) } }
  const bytes = tagged["data"]
  if (typeof bytes === "string") return { mediaType, data: { base64: bytes } }
  return bytes instanceof Uint8Array ? { mediaType, data: { base64: base64(bytes) } } : undefined
}

/** What {@link promptPart} needs of a prompt. */
export interface PartSettings {
  readonly files: FileForm
  readonly loaded: ReadonlyMap<string, string>
}

/** The part of a prompt by which a producer gets its opaque part back. `undefined`: it does not get this kind back. */
export function promptPart({ data, kind }: OpaqueBlock, providerOptions: ProviderOptions | undefined, settings: PartSettings): unknown {
  const options = providerOptions === undefined ? {} : { providerOptions }
  if (!isRecord(data)) return undefined
  switch (kind as OtherKind) {
    case "tool-call": {
      const { input, toolCallId, toolName } = data
      const given = typeof input === "string" ? (parseJson(input) ?? {}) : (input ?? {})
      return { type: "tool-call", toolCallId, toolName, input: wellFormed(given), providerExecuted: true, ...options }
    }
    case "tool-result": {
      const { isError, result, toolCallId, toolName } = data
      const output = { type: isError === true ? "error-json" : "json", value: wellFormed(result) }
      return { type: "tool-result", toolCallId, toolName, output, ...options }
    }
    case "file":
    case "reasoning-file": {
      const file = storedFile(data as Json)
      const part = file === undefined ? undefined : filePart(file, settings)
      return part === undefined ? undefined : { ...part, type: kind, ...options }
    }
    case "custom":
      return { type: "custom", kind: stringOf(data["kind"]), ...options }
    default:
      return undefined
  }
}

function filePart({ data, mediaType }: StoredFile, { files, loaded }: PartSettings): object | undefined {
  if ("url" in data) return files.part({ mediaType, url: data.url }) as object
  const bytes = "base64" in data ? data.base64 : loaded.get(data.$attachment.id)
  return bytes === undefined ? undefined : (files.part({ mediaType, base64: bytes }) as object)
}
