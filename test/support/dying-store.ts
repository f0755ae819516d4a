import type { JournalStore, StoredJournal } from "../../src/hosts/journal/store.ts"

/** Wraps a store that fails before its n-th write to any journal, as if the process had been killed. Only stored text remains. */
export function dyingStore(store: JournalStore, writes: number): JournalStore {
  let left = writes
  return {
    ...store,
    async open(name) {
      const stored = await store.open(name, { takeOver: true })
      const write = async (act: () => Promise<void>): Promise<void> => {
        left -= 1
        if (left < 0) throw new Error("killed")
        await act()
      }
      const handle: StoredJournal = {
        read: () => stored.read(),
        append: (text) => write(() => stored.append(text)),
        replace: (text) => write(() => stored.replace(text)),
        close: async () => {},
      }
      return handle
    },
  }
}
