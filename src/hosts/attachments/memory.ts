import { type AttachmentStore, describeBytes } from "./store.ts"

/** Creates a store that holds attachments in memory: for tests, and for turns that need not outlive their process. */
export function memoryAttachmentStore(): AttachmentStore {
  const stored = new Map<string, Uint8Array>()
  return {
    async put(bytes, info) {
      const { ref, copy } = await describeBytes(bytes, info)
      stored.set(ref.id, copy)
      return ref
    },
    // A copy, so that a caller cannot change what is stored.
    get: async (id) => stored.get(id)?.slice(),
  }
}
