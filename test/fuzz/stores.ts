import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { sqliteJournalStore } from "../../src/hosts/journal/sqlite.ts"
import { type JournalStore, JournalStoreError, type StoredJournal } from "../../src/hosts/journal/store.ts"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import { asParts, readText, textIn, wholeText } from "../support/stored-text.ts"
import { type Life, never } from "./life.ts"
import type { Script } from "./script.ts"

/** A new store, and what removes it. */
export function newStore(kind: Script["store"]): { readonly store: JournalStore; readonly remove: () => void } {
  switch (kind) {
    case "memory":
      return { store: memoryJournalStore(), remove: () => {} }
    case "sqlite": {
      const database = new Database(":memory:")
      return { store: sqliteJournalStore(database, { synchronous: "unchanged" }), remove: () => void database.close() }
    }
    case "file": {
      const folder = mkdtempSync(join(tmpdir(), "turn-machine-fuzz-"))
      return { store: fileJournalStore(folder, { fsync: "never" }), remove: () => rmSync(folder, { recursive: true, force: true }) }
    }
  }
}

/** A store as a process sees it: its calls may go wrong, and do nothing when the process is gone. */
export function storeOf(life: Life, store: JournalStore): JournalStore {
  const { world } = life
  const io = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    if (!life.isAlive) return never()
    world.io += 1
    try {
      return await work()
    } finally {
      world.io -= 1
    }
  }
  const ending = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    try {
      const value = await work()
      return life.isAlive ? value : never()
    } catch (error) {
      // Another owner is a reason to end, and so is what was done to the store.
      if ((life.isFenced || world.isContested) && error instanceof JournalStoreError) life.ends.add(error)
      if (!life.isAlive) return never()
      throw error
    }
  }
  const opened = (name: string, journal: StoredJournal): StoredJournal => {
    let last: Promise<unknown> = Promise.resolve()
    /** Calls take effect in the order in which they were made. */
    const inOrder = <Value>(work: () => Promise<Value>): Promise<Value> => {
      const done = last.then(() => ending(work))
      last = done.catch(() => {})
      return done
    }
    return {
      async *read() {
        await life.pass("store read")
        yield await ending(() => io(() => textIn(journal)))
      },
      append: (text) =>
        inOrder(async () => {
          const fault = await life.pass("store append")
          const put = (part: string): Promise<void> =>
            io(async () => {
              await journal.append(part)
              world.stored(name, part)
            })
          if (fault?.what === "torn" && text.length > 1) {
            await put(text.slice(0, 1 + Math.floor((fault.much / 101) * (text.length - 1))))
            if (fault.much % 2 === 0) life.kill()
            const error = new JournalStoreError("unavailable", "The disk is full.")
            life.ends.add(error)
            throw error
          }
          await put(text)
          await life.pass("store appended")
        }),
      replace: (text) =>
        inOrder(async () => {
          await life.pass("store replace")
          world.figures.compactions += 1
          // Its parts may come from this journal, whose calls may go wrong.
          const whole = await wholeText(text)
          await io(() => journal.replace(whole))
          await life.pass("store replaced")
        }),
      close: () =>
        inOrder(async () => {
          if (!world.journals.has(journal)) return
          life.open -= 1
          try {
            await life.pass("store close")
          } catch (error) {
            life.leavesOpen = true
            throw error
          }
          await io(() => journal.close())
          world.journals.delete(journal)
        }),
    }
  }
  return {
    open: (name, options) =>
      ending(async () => {
        await life.pass("store open")
        const journal = await io(() => store.open(name, { ...options, takeOver: life.takeOver }))
        world.journals.add(journal)
        life.open += 1
        return opened(name, journal)
      }),
    read: (name) =>
      ending(async () => {
        await life.pass("store read")
        const text = await io(() => readText(store, name))
        return text === undefined ? undefined : asParts(text)
      }),
    list: (options) => store.list(options),
    delete: (name) => ending(() => io(() => store.delete(name))),
  }
}
