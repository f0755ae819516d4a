export type {
  UiChunk,
  UiDataChunk,
  UiFinishReason,
  UiMessage,
  UiMessageMetadata,
  UiPart,
  UiStreamOptions,
  UiToolInput,
  UiToolPart,
} from "./chunks.ts"
export type { BlockKind, ChunkPosition } from "./cursor.ts"
export { UiMessageFold, type UiMessages, uiMessages, withoutRetracted } from "./messages.ts"
export { ResumedUiStream } from "./resume.ts"
export { type PlacedChunk, type PositionedChunk, UiStream, type UiStreamStatus } from "./ui-stream.ts"
