import type { LlmRequest, ToolResultBlock } from "../../wire/llm.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import {
  attachmentOf,
  describeAttachment,
  fileName,
  isData,
  isImage,
  isSendable,
  missingAttachment,
  OPENAI_IMAGES,
  resultText,
  type Shown,
} from "../wires/attachments.ts"
import type { ResponsesContent, ResponsesResult } from "./body.ts"
import type { ResponsesRequestOptions } from "./options.ts"

/** The attachments of a result, and whether they are in it or follow it. */
export interface ShownByResult extends Shown {
  readonly inResult: boolean
}

/** Projects texts, images and files of users and results. */
export class ContentProjection {
  readonly #request: LlmRequest
  readonly #options: ResponsesRequestOptions

  constructor(request: LlmRequest, options: ResponsesRequestOptions) {
    this.#request = request
    this.#options = options
  }

  /** Projects an attachment in a user's message. One of a result is left out if the result has it, or names it. */
  inMessage(block: { readonly type: "image" | "file"; readonly attachmentIndex: number }, shown: ShownByResult): readonly ResponsesContent[] {
    const attachment = attachmentOf(this.#request, block)
    if (attachment === undefined) return [inputText(missingAttachment(block.type))]
    const isOfResult = shown.ids.has(attachment.id)
    if (isOfResult && shown.inResult) return []
    const sent = this.#sent(attachment)
    if (sent === undefined) return isOfResult ? [] : [inputText(describeAttachment(attachment))]
    return isOfResult ? [inputText(describeAttachment(attachment, shown.toolName)), sent] : [sent]
  }

  /** Returns the text for an attachment in a message that cannot have one. */
  asText(block: { readonly type: "image" | "file"; readonly attachmentIndex: number }): string {
    const attachment = attachmentOf(this.#request, block)
    return attachment === undefined ? missingAttachment(block.type) : describeAttachment(attachment)
  }

  /** The content of a result: its texts and attachments in order, or one text if it has no attachment that can be sent. */
  ofResult(result: ToolResultBlock): ResponsesResult["output"] {
    const { content = [] } = result
    if (this.#options.resultAttachments === "message") return resultText(result)
    let isText = true
    const parts = content.flatMap((part): readonly ResponsesContent[] => {
      if (part.type === "text") return part.text === "" ? [] : [inputText(part.text)]
      const sent = this.#sent(part.attachment)
      if (sent !== undefined) isText = false
      return [sent ?? inputText(describeAttachment(part.attachment))]
    })
    return isText ? resultText(result) : parts
  }

  /**
   * Returns undefined if the endpoint does not accept the attachment, or the host has no URL for it. The type of the attachment decides
   * its form: a server that is sent a PDF as an image refuses the whole request.
   */
  #sent(attachment: AttachmentRef): ResponsesContent | undefined {
    const { attachmentUrl, fileTypes = ["application/pdf"], imageTypes = OPENAI_IMAGES } = this.#options
    const accepted = isImage(attachment) ? imageTypes : fileTypes
    const url = accepted.includes(attachment.mediaType) ? attachmentUrl?.(attachment) : undefined
    if (url === undefined || !isSendable(url, accepted)) return undefined
    if (isImage(attachment)) return { type: "input_image", detail: "auto", image_url: url }
    if (!isData(url)) return { type: "input_file", file_url: url }
    return { type: "input_file", filename: fileName(attachment), file_data: url }
  }
}

export function inputText(text: string): ResponsesContent {
  return { type: "input_text", text }
}
