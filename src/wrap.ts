/** A member of an interface, changed: a function is wrapped and gets the original as `next`, first; anything else is replaced. */
export type Change<Member> = Member extends (...given: infer Given) => infer Result ? (next: Member, ...given: Given) => Result : Member

type AnyFunction = (...given: readonly unknown[]) => unknown
type Members = { readonly [name: string]: unknown }

/**
 * Returns an object with every member of `inner`, inherited members and members unknown here included, and with `changes` applied.
 * Members are read from `inner` when they are used, and its functions run with `inner` as their `this`.
 *
 * `absent` gives the behavior of optional functions that `inner` does not have; a wrapper of any other missing function is left out.
 */
export function wrapMembers<Inner extends object>(inner: Inner, changes: Members, absent: Members = {}): Inner {
  const members = inner as unknown as Members
  const wrapped: object = {}
  for (const name of new Set([...namesOf(inner), ...Object.keys(changes)])) {
    const change = changes[name]
    const next = members[name] === undefined ? absent[name] : calling(inner, name)
    if (change === undefined) Object.defineProperty(wrapped, name, { enumerable: true, get: () => bound(inner, members[name]) })
    else if (typeof change !== "function") Object.defineProperty(wrapped, name, { enumerable: true, value: change })
    else if (next !== undefined)
      Object.defineProperty(wrapped, name, { enumerable: true, value: (...given: readonly unknown[]) => change(next, ...given) })
  }
  return wrapped as Inner
}

function namesOf(value: object): readonly string[] {
  const names: string[] = []
  for (let owner: object = value; owner !== null && owner !== Object.prototype; owner = Object.getPrototypeOf(owner))
    names.push(...Object.getOwnPropertyNames(owner).filter((name) => name !== "constructor"))
  return names
}

function calling(inner: object, name: string): AnyFunction {
  return (...given) => (inner as { readonly [name: string]: AnyFunction | undefined })[name]?.(...given)
}

function bound(inner: object, member: unknown): unknown {
  return typeof member === "function" ? (...given: readonly unknown[]) => Reflect.apply(member, inner, given) : member
}
