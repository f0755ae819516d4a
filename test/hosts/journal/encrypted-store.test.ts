import { describe, expect, test } from "vitest"
import { wireValidation } from "../../../src/checks/validation.ts"
import { encryptedJournalStore } from "../../../src/hosts/journal/encrypted-store.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { readTurnJournal } from "../../../src/hosts/journal/read-journal.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { goalConfig } from "../../../src/hosts/thread/config.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import type { Journal } from "../../../src/replay/journal.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import { aesGcm } from "../../support/aes.ts"
import { LONG_THREAD, longHost, playTurns } from "../../support/long-thread.ts"
import { openedText, readText } from "../../support/stored-text.ts"

const KEY = await aesGcm("one key")

/** A store with a journal of three writes, and the store below it. */
async function written(): Promise<{ readonly plain: JournalStore; readonly store: JournalStore; readonly lines: readonly string[] }> {
  const plain = memoryJournalStore()
  const store = encryptedJournalStore(plain, KEY)
  const journal = await store.open("turn")
  for (const text of ["a secret one\n", "a secret two\n", "a secret three\n"]) await journal.append(text)
  await journal.close()
  return { plain, store, lines: (await openedText(plain, "turn")).trimEnd().split("\n") }
}

async function rewrite(plain: JournalStore, name: string, text: string): Promise<void> {
  const stored = await plain.open(name)
  await stored.replace(text)
  await stored.close()
}

const notDecrypted = (line: number) =>
  expect.objectContaining({ name: "JournalStoreError", code: "not_decrypted", message: expect.stringContaining(`Line ${line} of journal "turn"`) })

describe("an encrypted store", () => {
  test("has no readable text below it, and only appends", async () => {
    const { plain, store, lines } = await written()
    expect(lines).toHaveLength(3)
    expect(lines.join("\n")).not.toContain("secret")
    const before = await readText(plain, "turn")
    const journal = await store.open("turn")
    await journal.append("four\n")
    await journal.close()
    expect((await readText(plain, "turn"))?.startsWith(before ?? "?")).toBe(true)
    expect(await readText(store, "turn")).toBe("a secret one\na secret two\na secret three\nfour\n")
  })

  test("numbers its lines anew when the text is replaced", async () => {
    const { store } = await written()
    const journal = await store.open("turn")
    await journal.append("four\n")
    await journal.replace("instead\n")
    await journal.append("and more\n")
    await journal.close()
    expect(await readText(store, "turn")).toBe("instead\nand more\n")
  })

  test("refuses another key", async () => {
    const { plain } = await written()
    const store = encryptedJournalStore(plain, await aesGcm("another key"))
    await expect(readText(store, "turn")).rejects.toEqual(notDecrypted(1))
  })

  test.each([
    ["changed", 2, ([a = "", b = "", c = ""]: readonly string[]) => [a, `${b.slice(0, 30)}${b[30] === "A" ? "B" : "A"}${b.slice(31)}`, c]],
    ["exchanged with the next", 1, ([a = "", b = "", c = ""]: readonly string[]) => [b, a, c]],
    ["cut out", 2, ([a = "", , c = ""]: readonly string[]) => [a, c]],
    ["repeated", 3, ([a = "", b = "", c = ""]: readonly string[]) => [a, b, b, c]],
    ["emptied", 2, ([a = "", , c = ""]: readonly string[]) => [a, "", c]],
  ])("refuses a line that was %s", async (_how, line, change) => {
    const { plain, store, lines } = await written()
    await rewrite(plain, "turn", `${change(lines).join("\n")}\n`)
    await expect(readText(store, "turn")).rejects.toEqual(notDecrypted(line))
  })

  test("refuses a journal under another name", async () => {
    const { plain, store, lines } = await written()
    await rewrite(plain, "other", `${lines.join("\n")}\n`)
    await expect(readText(store, "other")).rejects.toMatchObject({ code: "not_decrypted" })
  })

  test("drops an incomplete last line, as a killed process leaves it, and continues after the line before", async () => {
    const { plain, store, lines } = await written()
    const [one = "", two = "", three = ""] = lines
    for (let length = 0; length <= three.length; length += 7) {
      await rewrite(plain, "turn", `${one}\n${two}\n${three.slice(0, length)}`)
      expect(await readText(store, "turn")).toBe("a secret one\na secret two\n")
      const journal = await store.open("turn")
      await journal.append("again\n")
      await journal.close()
      expect(await readText(store, "turn")).toBe("a secret one\na secret two\nagain\n")
    }
  })

  test("stores nothing if encrypt fails, or returns what is not one line", async () => {
    const plain = memoryJournalStore()
    const answers: (string | Error)[] = [new Error("No key."), "a\nb", "c"]
    const store = encryptedJournalStore(plain, {
      async encrypt() {
        const answer = answers.shift() ?? ""
        if (answer instanceof Error) throw answer
        return answer
      },
      decrypt: (text) => text,
    })
    const journal = await store.open("turn")
    await expect(journal.append("x")).rejects.toThrow("No key.")
    await expect(journal.append("x")).rejects.toThrow(TypeError)
    await journal.append("x")
    await journal.close()
    expect(await readText(plain, "turn")).toBe("c\n")
  })

  test("holds a thread that is run, read, killed, resumed, listed, replayed and deleted", async () => {
    const plain = memoryJournalStore()
    const store = encryptedJournalStore(plain, KEY)
    const options = { ...LONG_THREAD, takeOver: true }
    const first = await Thread.open(store, "t", options)
    await playTurns(first, longHost(true), 2)
    await first.say("And then?")
    let asked = () => {}
    const asking = new Promise<void>((resolve) => (asked = resolve))
    const llmCall = (): Promise<never> => {
      asked()
      return new Promise(() => {})
    }
    void runThread(first, { ...longHost(), llmCall })
    await asking
    expect(await snapshotThread(store, "t", options)).toMatchObject({ turns: 3, openTurn: { turnId: "t.3" } })

    const second = await Thread.open(store, "t", options)
    await runThread(second, longHost())
    expect(second.lastTurn).toMatchObject({ turnId: "t.3", outcome: { type: "finished" } })
    await second.close()
    for (const number of [1, 2, 3]) {
      const journal = (await readTurnJournal(store, `t.${number}`)) as Journal
      const turn = { turnId: `t.${number}`, origin: "user", startedAt: 0 } as const
      expect(verifyReplay(journal, { validation: wireValidation, ...goalConfig("t", turn, options) }, { checkConfig: true }).outcome?.type).toBe(
        "finished",
      )
    }
    for await (const found of Thread.list(store)) expect(found).toMatchObject({ threadId: "t", turns: 3, hasInput: false })
    for await (const name of plain.list()) expect(await readText(plain, name)).not.toMatch(/quick foxes|turn-machine/)
    const other = encryptedJournalStore(plain, await aesGcm("another key"))
    for await (const found of Thread.list(other)) expect(found).toMatchObject({ threadId: "t", error: { code: "not_decrypted" } })
    await Thread.delete(store, "t")
    for await (const name of plain.list()) expect.unreachable(name)
  })
})
