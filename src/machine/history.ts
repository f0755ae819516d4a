import { frozen } from "../freeze.ts"
import { copyOfSegment, segmentOf } from "../lazy.ts"

/**
 * An append-only list of frozen items as a value: appending gives a new history and leaves the old one as it was, and both share one
 * array. Appending to the newest history costs the same at 10 and at 10,000 items; appending to an older one (a turn
 * that was resumed from an earlier point) copies once, unless the newer one has the same items there.
 */
export class History<Item> {
  /** What all histories grown from one another share. Its items below `length` never change, so it may key a cache. */
  readonly storage: readonly Item[]
  readonly length: number
  #array: readonly Item[] | undefined

  private constructor(storage: readonly Item[], length: number) {
    this.storage = storage
    this.length = length
  }

  /** A history of these items. Of the array of a history, it shares the storage, so that what is cached for one turn serves the next. */
  static of<Item>(items: readonly Item[]): History<Item> {
    const segment = segmentOf(items)
    if (segment instanceof History) return new History(segment.storage as readonly Item[], segment.length)
    return new History(items.map(frozen), items.length)
  }

  /** The item at `index`; a negative one counts from the end. */
  at(index: number): Item | undefined {
    const position = index < 0 ? this.length + index : index
    return position < this.length ? this.storage[position] : undefined
  }

  append(items: readonly Item[]): History<Item> {
    if (items.length === 0) return this
    // A turn that began with this history may have appended the same items to its own.
    let found = 0
    while (found < items.length && this.storage[this.length + found] === items[found]) found += 1
    const length = this.length + found
    if (found === items.length) return new History(this.storage, length)
    const storage = this.storage.length === length ? (this.storage as Item[]) : this.storage.slice(0, length)
    for (let index = found; index < items.length; index += 1) storage.push(frozen(items[index] as Item))
    return new History(storage, storage.length)
  }

  /** The first `length` items, sharing the storage. */
  prefix(length: number): History<Item> {
    return length === this.length ? this : new History(this.storage, length)
  }

  /** A stretch of the items; negative bounds count from the end, as an array's do. */
  slice(start: number, end: number = this.length): readonly Item[] {
    return this.storage.slice(this.#bound(start), this.#bound(end))
  }

  /** All items as a frozen array of its own, made once. */
  toArray(): readonly Item[] {
    this.#array ??= copyOfSegment(this)
    return this.#array
  }

  /** The storage may be longer than this history, so bounds are counted here. */
  #bound(position: number): number {
    return position < 0 ? Math.max(0, this.length + position) : Math.min(position, this.length)
  }

  *[Symbol.iterator](): IterableIterator<Item> {
    for (let index = 0; index < this.length; index += 1) yield this.storage[index] as Item
  }
}
