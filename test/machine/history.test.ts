import { describe, expect, test } from "vitest"
import { History } from "../../src/machine/history.ts"

describe("History", () => {
  test("appending gives a new history and leaves the old one as it was", () => {
    const old = History.of(["a", "b"])
    const next = old.append(["c"])
    expect(old.toArray()).toEqual(["a", "b"])
    expect(old.length).toBe(2)
    expect(next.toArray()).toEqual(["a", "b", "c"])
    expect(next.length).toBe(3)
  })

  test("histories grown from one another share one storage", () => {
    const first = History.of(["a"])
    const third = first.append(["b"]).append(["c"])
    expect(third.storage).toBe(first.storage)
  })

  test("two histories that append the same items to one past share one storage", () => {
    const [first, second, third] = [{ text: "first" }, { text: "second" }, { text: "third" }]
    const past = History.of([first])
    const turn = past.append([second, third])
    const log = past.append([second]).append([third])
    expect(log.toArray()).toEqual([first, second, third])
    expect(log.storage).toBe(turn.storage)
    const longer = past.append([second, third, { text: "fourth" }])
    expect(longer.storage).toBe(turn.storage)
    expect(longer.length).toBe(4)
    expect(turn.length).toBe(3)
  })

  test("an item that only equals another is another", () => {
    const past = History.of<{ readonly text: string }>([])
    const left = past.append([{ text: "same" }])
    const right = past.append([{ text: "same" }])
    expect(right.toArray()).toEqual(left.toArray())
    expect(right.storage).not.toBe(left.storage)
  })

  test("a history of the array of another shares its storage, and no more than its items", () => {
    const first = History.of([{ text: "first" }])
    const array = first.toArray()
    const longer = first.append([{ text: "second" }])
    const again = History.of(array)
    expect(again.storage).toBe(first.storage)
    expect(again.length).toBe(1)
    expect(again.append([{ text: "other" }]).toArray()).toEqual([{ text: "first" }, { text: "other" }])
    expect(longer.toArray()).toEqual([{ text: "first" }, { text: "second" }])
    expect(History.of(array.slice()).storage).not.toBe(first.storage)
  })

  test("two futures of one past do not see each other", () => {
    const past = History.of(["a"])
    const left = past.append(["left"])
    const right = past.append(["right"])
    const further = left.append(["further"])
    expect(left.toArray()).toEqual(["a", "left"])
    expect(right.toArray()).toEqual(["a", "right"])
    expect(further.toArray()).toEqual(["a", "left", "further"])
    expect(past.toArray()).toEqual(["a"])
    expect(right.storage).not.toBe(left.storage)
  })

  test("items below the length of a history never change, whatever is appended to others", () => {
    const past = History.of([1, 2, 3])
    let branch = past
    for (let count = 0; count < 5; count += 1) {
      past.append([10 + count])
      branch = branch.append([count])
    }
    expect(past.toArray()).toEqual([1, 2, 3])
    expect(branch.toArray()).toEqual([1, 2, 3, 0, 1, 2, 3, 4])
  })

  test("appending nothing gives the same history", () => {
    const history = History.of(["a"])
    expect(history.append([])).toBe(history)
  })

  test("changing the list that it was made of changes nothing", () => {
    const list = ["a"]
    const history = History.of(list)
    list.push("b")
    list[0] = "changed"
    expect(history.toArray()).toEqual(["a"])
  })

  test("at: from the front, from the end, and outside of both", () => {
    const history = History.of(["a", "b", "c"])
    history.append(["not mine"])
    expect([history.at(0), history.at(2), history.at(3), history.at(-1), history.at(-3), history.at(-4)]).toEqual([
      "a",
      "c",
      undefined,
      "c",
      "a",
      undefined,
    ])
    expect(History.of([]).at(-1)).toBeUndefined()
  })

  test("slice: as an array's, and never what another history appended", () => {
    const history = History.of(["a", "b", "c"])
    history.append(["x", "y"])
    expect(history.slice(1)).toEqual(["b", "c"])
    expect(history.slice(0, 2)).toEqual(["a", "b"])
    expect(history.slice(1, 99)).toEqual(["b", "c"])
    expect(history.slice(3)).toEqual([])
    expect(history.slice(2, 1)).toEqual([])
    expect(history.slice(-2)).toEqual(["b", "c"])
    expect(history.slice(0, -1)).toEqual(["a", "b"])
    expect(history.slice(-2, -1)).toEqual(["b"])
    expect(history.slice(-99)).toEqual(["a", "b", "c"])
    // Counted from the end of the storage, which is longer, this would be its last item.
    expect(history.slice(-4)).toEqual(["a", "b", "c"])
  })

  test("prefix: the beginning, sharing the storage; appending to it does not change the other", () => {
    const history = History.of(["a", "b", "c"])
    const beginning = history.prefix(2)
    expect(beginning.toArray()).toEqual(["a", "b"])
    expect(beginning.storage).toBe(history.storage)
    expect(history.prefix(3)).toBe(history)
    expect(beginning.append(["d"]).toArray()).toEqual(["a", "b", "d"])
    expect(history.toArray()).toEqual(["a", "b", "c"])
    expect(history.prefix(0).toArray()).toEqual([])
  })

  test("iterating gives its own items only", () => {
    const history = History.of(["a", "b"])
    history.append(["c"])
    expect([...history]).toEqual(["a", "b"])
  })

  test("toArray is made once, and one array per history", () => {
    const history = History.of(["a"])
    const grown = history.append(["b"])
    expect(history.toArray()).toBe(history.toArray())
    expect(grown.toArray()).not.toBe(history.toArray())
  })
})
