import { TurnError } from "../../errors.ts"

/** Why a request is refused. */
export type ChatRequestErrorCode =
  | "method_not_allowed"
  | "content_type_not_json"
  | "body_too_large"
  | "body_not_json"
  | "invalid_chat_request"
  | "regenerate_not_supported"
  | "empty_message"
  | "text_too_long"
  | "files_not_accepted"
  | "too_many_files"
  | "file_type_not_accepted"
  | "file_url_not_accepted"
  | "nothing_decided"

/** A request that is not accepted. Nothing was said to the thread. */
export class ChatRequestError extends TurnError<ChatRequestErrorCode> {
  /** The HTTP status that it is answered with: 400, 405, 413 or 415. */
  readonly status: number

  constructor(code: ChatRequestErrorCode, message: string, status = 400) {
    super(code, message)
    this.status = status
  }

  /** The error as a response: JSON with `code` and `message`. */
  toResponse(): Response {
    const { code, message, status } = this
    return Response.json({ code, message }, { status })
  }
}
