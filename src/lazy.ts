/** The first `length` items of a list that may still grow. Those items never change. */
export interface Segment<Item> {
  readonly storage: readonly Item[]
  readonly length: number
}

const segments = new WeakMap<readonly unknown[], Segment<unknown>>()

/** Remembers which segment a list is a copy of, so that lists of one storage need no comparison. */
export function copyOfSegment<Item>(segment: Segment<Item>): readonly Item[] {
  const copy: readonly Item[] = Object.freeze(segment.storage.slice(0, segment.length))
  segments.set(copy, segment)
  return copy
}

/** The segment that a list is a copy of, as {@link copyOfSegment} made it. */
export function segmentOf<Item>(list: readonly Item[]): Segment<Item> | undefined {
  return segments.get(list) as Segment<Item> | undefined
}

/** What all lists that grow from one another share, as a key of caches. `undefined`: the list is an array of its own. */
export function storageOf<Item>(list: { readonly storage?: readonly Item[] }): readonly Item[] | undefined {
  return list.storage ?? segmentOf<Item>(list as unknown as readonly Item[])?.storage
}

/** Whether a list begins with the same items as another. */
export function beginsWith<Item>(list: readonly Item[], beginning: readonly Item[]): boolean {
  if (beginning.length > list.length) return false
  const storage = segments.get(list)?.storage
  if (storage !== undefined && storage === segments.get(beginning)?.storage) return true
  return beginning.every((item, index) => item === list[index])
}

/** A list that is put together on demand. */
export interface Listing<Item> {
  toArray(): readonly Item[]
  /** The same items as segments of lists that outlive this one, so that work on them can be cached. `undefined`: not made of such lists. */
  segments?(): readonly Segment<Item>[] | undefined
}

/** The items of several segments, one after the other. The list is built, and frozen, when it is first read. */
export class Joined<Item> implements Listing<Item> {
  readonly #segments: readonly Segment<Item>[]
  #array: readonly Item[] | undefined

  constructor(segments: readonly Segment<Item>[]) {
    this.#segments = segments
  }

  toArray(): readonly Item[] {
    if (this.#array === undefined) {
      const none: readonly Item[] = []
      // `concat` copies memory; `flatMap` takes fifty times as long.
      this.#array = Object.freeze(none.concat(...this.#segments.map(({ storage, length }) => storage.slice(0, length))))
    }
    return this.#array
  }

  segments(): readonly Segment<Item>[] {
    return this.#segments
  }
}

/** Stamps a private field on an object that is not its instance, by returning that object from the base constructor. */
export class Given {
  constructor(target: object) {
    // biome-ignore lint/correctness/noConstructorReturn: it is what this class is for
    return target
  }
}
class Listed extends Given {
  readonly #listing: Listing<unknown>

  constructor(target: object, listing: Listing<unknown>) {
    super(target)
    this.#listing = listing
  }

  static of(target: object): Listing<unknown> | undefined {
    return #listing in target ? target.#listing : undefined
  }

  static readonly MESSAGES: PropertyDescriptor & ThisType<Listed> = {
    enumerable: true,
    configurable: true,
    get() {
      return this.#listing.toArray()
    },
  }
}

/** As {@link Listed}, for the other list of a request: an object can have the private field of a class only once. */
class Attached extends Given {
  readonly #listing: Listing<unknown>

  constructor(target: object, listing: Listing<unknown>) {
    super(target)
    this.#listing = listing
  }

  static of(target: object): Listing<unknown> | undefined {
    return #listing in target ? target.#listing : undefined
  }

  static readonly ATTACHMENTS: PropertyDescriptor & ThisType<Attached> = {
    enumerable: true,
    configurable: true,
    get() {
      return this.#listing.toArray()
    },
  }
}

/**
 * Gives a plain object a list of `messages` of its own that is put together when it is read. To JSON, spread and
 * `structuredClone` it is an array like any other. Passing on a long transcript this way costs what a short one costs, and
 * most receivers never read it.
 *
 * One getter for all objects and a private field in each: a getter in the literal would be a closure per object, and
 * engines give each such object a shape of its own (measured at four times the cost).
 */
export function withMessages<Rest extends object, Item>(rest: Rest, listing: Listing<Item>): Rest & { readonly messages: readonly Item[] } {
  Object.defineProperty(rest, "messages", Listed.MESSAGES)
  new Listed(rest, listing)
  return rest as Rest & { readonly messages: readonly Item[] }
}

/** What {@link withMessages} made the `messages` of an object from; `undefined` where they are a list like any other. */
export function messagesListing<Item>(target: object): Listing<Item> | undefined {
  return Listed.of(target) as Listing<Item> | undefined
}

/** As {@link withMessages}, for a list of `attachments`. */
export function withAttachments<Rest extends object, Item>(rest: Rest, listing: Listing<Item>): Rest & { readonly attachments: readonly Item[] } {
  Object.defineProperty(rest, "attachments", Attached.ATTACHMENTS)
  new Attached(rest, listing)
  return rest as Rest & { readonly attachments: readonly Item[] }
}

/** A copy with some properties changed. Its lists are still put together when they are read. */
export function withChanges<Target extends object>(target: Target, changes: Partial<Target>): Target {
  const messages = messagesListing(target)
  const attachments = Attached.of(target)
  const copy: Partial<Target> = {}
  for (const key of Object.keys(target) as (keyof Target)[]) {
    // Reading a listed one would build it.
    if ((key === "messages" && messages !== undefined) || (key === "attachments" && attachments !== undefined)) continue
    copy[key] = target[key]
  }
  Object.assign(copy, changes)
  if (messages !== undefined && !("messages" in changes)) withMessages(copy, messages)
  if (attachments !== undefined && !("attachments" in changes)) withAttachments(copy, attachments)
  return copy as Target
}

/** A copy with another list of `messages`, put together when it is read. */
export function withOtherMessages<Target extends { readonly messages: readonly Item[] }, Item>(target: Target, listing: Listing<Item>): Target {
  return withMessages(withChanges(target, { messages: [] } as unknown as Partial<Target>), listing)
}
