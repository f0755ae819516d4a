import { quoted } from "../../text.ts"
import type { AttachmentRef, CodePart, FilePart, ImagePart, Message, Part, TextPart } from "../../wire/message.ts"
import { ThreadError } from "./thread-error.ts"

/** A part of a message that a user can say. */
export type UserPart = TextPart | CodePart | ImagePart | FilePart

/** A part of an input. Without an id, it gets one of the thread. */
export type InputPart = UserPart extends infer One ? (One extends UserPart ? Omit<One, "id"> & { readonly id?: string } : never) : never

/**
 * What a user says: a text, the parts of a message, or a whole message of the role `user`. The id of a whole message must be unique in the thread,
 * and the ids of parts in their message.
 */
export type ThreadInput = string | readonly InputPart[] | Message

const USER_PARTS: ReadonlySet<string> = new Set<UserPart["type"]>(["text", "code", "output", "error", "image", "file"])

/** Ids that a thread, its drivers, its goal and its children make for other messages, now or later. */
const OWN_ID = /^continue-\d+$|^m_\d+_|^child:|\.goal\d+$/

/**
 * The message of an input. `idOf` chooses its id, given the one that the caller chose.
 * @throws {ThreadError} `invalid_input`: not what a user can say
 */
export function inputMessage(input: ThreadInput, attachments: readonly AttachmentRef[], idOf: (given: string | undefined) => string): Message {
  const whole = isMessage(input) ? input : undefined
  if (whole !== undefined && whole.role !== "user")
    throw invalidInput(`its role is ${quoted(String(whole.role))}. A user says messages of the role "user"`)
  const id = idOf(whole?.id)
  const given: readonly InputPart[] =
    typeof input === "string" ? [{ type: "text", text: input }] : isMessage(input) ? (input.parts as UserPart[]) : input
  if (!Array.isArray(given)) throw invalidInput("it is neither a text, nor a list of parts, nor a message")
  const parts = [...given, ...attachments.map(attachmentPart)].map((part, index): Part => withId(part, `${id}.p${index}`))
  if (parts.length === 0) throw invalidInput("it has no parts")
  const ids = new Set<string>()
  for (const part of parts) {
    if (!USER_PARTS.has(part.type)) throw invalidInput(`a user does not say a part of the type ${quoted(String(part.type))}`)
    if (ids.has(part.id)) throw invalidInput(`two of its parts have the id ${quoted(part.id)}`)
    ids.add(part.id)
  }
  return { ...(whole ?? { role: "user" as const }), id, parts }
}

/** Whether an id is one that a thread makes for messages that no user says. */
export function isOwnId(id: string): boolean {
  return OWN_ID.test(id)
}

function isMessage(input: ThreadInput): input is Message {
  return typeof input === "object" && input !== null && !Array.isArray(input)
}

function withId(part: InputPart, id: string): Part {
  if (typeof part !== "object" || part === null) throw invalidInput("one of its parts is not an object")
  return { ...part, id: part.id ?? id } as Part
}

/** The model is shown an image if its type says so, and a file otherwise. */
function attachmentPart(attachment: AttachmentRef): InputPart {
  const isImage = typeof attachment?.mediaType === "string" && attachment.mediaType.startsWith("image/")
  return { type: isImage ? "image" : "file", attachment }
}

function invalidInput(why: string): ThreadError {
  return new ThreadError("invalid_input", `Not an input: ${why}.`)
}
