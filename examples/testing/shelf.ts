import type { Book, Library } from "./agent.ts"

/** A library for tests. It records each reservation under its key. */
export interface Shelf extends Library {
  readonly reserved: ReadonlyMap<string, string>
}

export function shelf(books: readonly Book[] = BOOKS): Shelf {
  const reserved = new Map<string, string>()
  return {
    reserved,
    find: async (title) => books.filter((book) => book.title.toLowerCase().includes(title.toLowerCase())),
    book: async (isbn) => books.find((book) => book.isbn === isbn),
    async reserve(isbn, key) {
      reserved.set(key, isbn)
      return { until: "2031-05-01" }
    },
  }
}

const BOOKS: readonly Book[] = [
  { isbn: "978-0-01", title: "The Axolotl", copies: 2 },
  { isbn: "978-0-02", title: "The Otter", copies: 0 },
]
