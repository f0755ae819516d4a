import type { AttachmentRef } from "../../wire/message.ts"
import { type AttachmentStore, dataUrl } from "../attachments/store.ts"
import { LlmCallError } from "../host.ts"

/** The attachments of a request as URLs. One that the store does not have is left out, so that the model reads a line about it. */
export async function dataUrls(store: AttachmentStore, attachments: readonly AttachmentRef[]): Promise<ReadonlyMap<string, string>> {
  const urls = new Map<string, string>()
  try {
    for (const attachment of attachments) {
      const url = urls.has(attachment.id) ? undefined : await dataUrl(store, attachment)
      if (url !== undefined) urls.set(attachment.id, url)
    }
  } catch (cause) {
    // Leaving them out would let the model answer without what it was asked about.
    const message = `An attachment could not be read: ${cause instanceof Error ? cause.message : String(cause)}`
    throw new LlmCallError({ message, retryable: false, code: "attachment_unreadable", kind: "other", terminalReason: "provider_error" }, { cause })
  }
  return urls
}
