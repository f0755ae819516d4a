import { indexOf, isRecord, stringOf } from "../wires/values.ts"
import { type OutputItem, type ReadItem, textsIn } from "./output-parts.ts"

/** A text inside an item. */
export type PieceKind = "text" | "refusal" | "summary" | "reasoning"

interface Piece {
  readonly kind: PieceKind
  readonly index: number
  text: string
  /** What the user was shown. */
  shown: string
}

/** An item of a streamed answer, from its events so far. */
export class Slot {
  readonly type: string
  readonly index: number | undefined
  readonly id: string
  /** The item as it ended. */
  whole: OutputItem | undefined
  #arguments = ""
  readonly #opened: OutputItem
  readonly #pieces = new Map<string, Piece>()

  constructor(type: string, index: number | undefined, id: string, opened: OutputItem = {}) {
    this.type = type
    this.index = index
    this.id = id
    this.#opened = opened
  }

  /** Adds a piece of a text and returns what to show. */
  append(kind: PieceKind, index: number, text: string): string {
    const piece = this.#piece(kind, index)
    const separator = this.#separator(piece)
    piece.text += text
    piece.shown += text
    return text === "" ? "" : separator + text
  }

  /** Sets a whole text, and returns what of it was not shown. Of a text that differs from what was shown nothing is. */
  complete(kind: PieceKind, index: number, text: string): string {
    const piece = this.#piece(kind, index)
    piece.text = text
    if (!text.startsWith(piece.shown) || text === piece.shown) return ""
    const rest = this.#separator(piece) + text.slice(piece.shown.length)
    piece.shown = text
    return rest
  }

  appendArguments(text: string): void {
    this.#arguments += text
  }

  setArguments(text: string): void {
    if (text !== "") this.#arguments = text
  }

  /** Ends the item, and returns what of it was not shown, by kind. */
  end(item: OutputItem): readonly { readonly kind: PieceKind; readonly text: string }[] {
    const hasArguments = stringOf(item["arguments"]) !== "" || isRecord(item["arguments"]) || this.#arguments === ""
    this.whole = hasArguments ? item : { ...item, arguments: this.#arguments }
    const content: readonly unknown[] = Array.isArray(item["content"]) ? item["content"] : []
    const texts: readonly (readonly [PieceKind, number, string])[] =
      this.type === "reasoning"
        ? [
            ...textsIn(item["summary"]).map((text, index) => ["summary", index, text] as const),
            ...textsIn(item["content"]).map((text, index) => ["reasoning", index, text] as const),
          ]
        : this.type === "message"
          ? content.map((part, index) =>
              isRecord(part) && part["type"] === "refusal"
                ? (["refusal", index, stringOf(part["refusal"])] as const)
                : (["text", index, isRecord(part) ? stringOf(part["text"]) : stringOf(part)] as const),
            )
          : []
    // Of reasoning with a summary the summary is shown.
    const shown = texts.some(([kind, , text]) => kind === "summary" && text !== "") ? texts.filter(([kind]) => kind !== "reasoning") : texts
    return shown.map(([kind, index, text]) => ({ kind, text: this.complete(kind, index, text) })).filter(({ text }) => text !== "")
  }

  /** The item as far as it came. */
  read(): ReadItem {
    if (this.whole !== undefined) return { item: this.whole, isWhole: this.whole["status"] !== "incomplete" }
    const pieces = [...this.#pieces.values()].sort((a, b) => a.index - b.index)
    const of = (kind: PieceKind): readonly object[] => pieces.filter((piece) => piece.kind === kind).map(({ text }) => ({ text }))
    const item = { ...this.#opened, type: this.type, id: stringOf(this.#opened["id"]) || this.id, status: "incomplete" }
    if (this.type === "reasoning")
      return { item: { ...item, summary: of("summary"), content: of("reasoning"), encrypted_content: "" }, isWhole: false }
    if (this.type === "function_call") return { item: { ...item, arguments: this.#arguments }, isWhole: false }
    if (this.type !== "message") return { item, isWhole: false }
    const content = pieces.map(({ kind, text }) => (kind === "refusal" ? { type: "refusal", refusal: text } : { type: "output_text", text }))
    return { item: { ...item, content }, isWhole: false }
  }

  #piece(kind: PieceKind, index: number): Piece {
    const key = `${kind} ${index}`
    const piece = this.#pieces.get(key) ?? { kind, index, text: "", shown: "" }
    this.#pieces.set(key, piece)
    return piece
  }

  /** An empty line before the second and each later text of reasoning. */
  #separator(piece: Piece): string {
    if (piece.shown !== "" || (piece.kind !== "summary" && piece.kind !== "reasoning")) return ""
    return [...this.#pieces.values()].some(({ kind, shown }) => kind === piece.kind && shown !== "") ? "\n\n" : ""
  }
}

/** Where an event belongs. */
export interface Place {
  readonly index: number | undefined
  readonly id: string
}

export function placeOf(event: Readonly<Record<string, unknown>>): Place {
  return { index: indexOf(event["output_index"]), id: stringOf(event["item_id"]) }
}

/**
 * The items of a streamed answer. An event belongs to the item at its `output_index`: the ids of some endpoints change from event to
 * event. Where several items have one index, as some servers number messages and calls apart, the id and the type decide.
 * @see https://github.com/Oaklight/llm-rosetta/issues/418 (2026-11): indexes that collide
 */
export class Slots {
  readonly #slots: Slot[] = []

  get isEmpty(): boolean {
    return this.#slots.length === 0
  }

  /** Starts an item, unless the event repeats the start of one that is open. */
  start(type: string, { id, index }: Place, item: OutputItem): void {
    const known = this.#slots.some((slot) => slot.whole === undefined && slot.type === type && slot.index === index && slot.id === id)
    if (!known) this.#slots.push(new Slot(type, index, id, item))
  }

  /** Returns the open item that a piece belongs to. A piece of an item that did not start starts it. A piece of one that ended is late. */
  open(type: string, place: Place): Slot | undefined {
    const slot = this.#find(type, place, (one) => one.whole === undefined)
    if (slot !== undefined) return slot
    if (this.#find(type, place, () => true) !== undefined) return undefined
    return this.#add(new Slot(type, place.index, place.id))
  }

  /** Returns the item that ends. `undefined`: it has already ended. */
  ending(type: string, place: Place): Slot | undefined {
    const open = this.#find(type, place, (slot) => slot.whole === undefined)
    if (open !== undefined) return open
    const isKnown = place.id !== "" && this.#slots.some((slot) => slot.type === type && idOf(slot) === place.id && slot.index === place.index)
    return isKnown ? undefined : this.#add(new Slot(type, place.index, place.id))
  }

  /** Returns the item of the whole answer at the end of the stream: what is not known of it yet is added. */
  final(type: string, place: Place, callId: string): Slot {
    const isSame = (slot: Slot): boolean => slot.type === type && callId !== "" && stringOf(slot.read().item["call_id"]) === callId
    const isOther = (slot: Slot): boolean => callId !== "" && stringOf(slot.read().item["call_id"]) !== "" && !isSame(slot)
    const known = this.#slots.find(isSame) ?? this.#slots.find((slot) => slot.type === type && place.id !== "" && idOf(slot) === place.id)
    return known ?? this.#find(type, place, (slot) => !isOther(slot)) ?? this.#add(new Slot(type, place.index, place.id))
  }

  /** All items in order. */
  read(): readonly ReadItem[] {
    const isNumbered = this.#slots.every(({ index }) => index !== undefined)
    const ordered = isNumbered ? [...this.#slots].sort((a, b) => (a.index ?? 0) - (b.index ?? 0)) : this.#slots
    return ordered.map((slot) => slot.read())
  }

  #find(type: string, { id, index }: Place, isIncluded: (slot: Slot) => boolean): Slot | undefined {
    const fitting = this.#slots.filter((slot) => slot.type === type && isIncluded(slot))
    const here = index === undefined ? fitting : fitting.filter((slot) => slot.index === index)
    const known = id === "" ? undefined : here.find((slot) => slot.id === id)
    return known ?? here.at(-1) ?? (id === "" ? undefined : fitting.find((slot) => slot.id === id))
  }

  #add(slot: Slot): Slot {
    this.#slots.push(slot)
    return slot
  }
}

function idOf(slot: Slot): string {
  return stringOf(slot.whole?.["id"]) || slot.id
}
