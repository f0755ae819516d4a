export { chatProjector } from "./chat.ts"
export type { ProjectionInput, Projector, Transcript } from "./projector.ts"
