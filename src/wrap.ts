/**
 * How a member is changed: a function is wrapped and gets the original as `next`, first; the members of an object are changed one by one;
 * anything else is replaced.
 */
export type Change<Member> = Member extends (...given: infer Given) => infer Result
  ? (next: Member, ...given: Given) => Result
  : Member extends object
    ? { readonly [Name in keyof Member]?: Change<NonNullable<Member[Name]>> }
    : Member

type AnyFunction = (...given: readonly unknown[]) => unknown
type Members = { readonly [name: PropertyKey]: unknown }

/**
 * Returns a view of `inner` with `changes` applied. Every other member shows through: inherited, unknown here, added or replaced later.
 * Members are read from `inner` when they are used, never before, and its functions run with `inner` as their `this`. Setting a member of
 * the view changes the view alone.
 *
 * `absent` gives the behavior of optional functions that `inner` does not have; a wrapper of any other missing member is left out.
 */
export function wrapMembers<Inner extends object>(inner: Inner, changes: Members, absent: Members = {}): Inner {
  const made = new Map<PropertyKey, { readonly from: unknown; readonly member: unknown }>()
  const read = (name: PropertyKey): unknown => {
    const from = (inner as Members)[name]
    const known = made.get(name)
    if (known !== undefined && known.from === from) return known.member
    const member = changed(inner, from ?? absent[name], changes[name])
    made.set(name, { from, member })
    return member
  }
  const has = (name: PropertyKey): boolean => name in inner || (changes[name] !== undefined && read(name) !== undefined)
  return new Proxy<object>(
    {},
    {
      get: (own, name) => (Object.hasOwn(own, name) ? Reflect.get(own, name) : read(name)),
      set: (own, name, value) => Reflect.defineProperty(own, name, { value, configurable: true, enumerable: true, writable: true }),
      has: (own, name) => Object.hasOwn(own, name) || has(name),
      ownKeys: (own) => [...new Set([...Reflect.ownKeys(own), ...namesOf(inner), ...Object.keys(changes).filter(has)])],
      getOwnPropertyDescriptor(own, name) {
        if (!Object.hasOwn(own, name) && !has(name)) return undefined
        return { configurable: true, enumerable: true, writable: true, value: Object.hasOwn(own, name) ? Reflect.get(own, name) : read(name) }
      },
    },
  ) as Inner
}

function changed(inner: object, member: unknown, change: unknown): unknown {
  if (typeof change === "function") return member === undefined ? undefined : wrapped(inner, member as AnyFunction, change as AnyFunction)
  if (typeof change === "object" && change !== null)
    return typeof member === "object" && member !== null ? wrapMembers(member, change as Members) : member
  if (change !== undefined) return change
  return typeof member === "function" ? (...given: readonly unknown[]) => Reflect.apply(member, inner, given) : member
}

function wrapped(inner: object, member: AnyFunction, change: AnyFunction): AnyFunction {
  const next: AnyFunction = (...given) => Reflect.apply(member, inner, given)
  return (...given) => change(next, ...given)
}

function namesOf(value: object): readonly (string | symbol)[] {
  const names: (string | symbol)[] = []
  for (let owner: object | null = value; owner !== null && owner !== Object.prototype; owner = Object.getPrototypeOf(owner) as object | null)
    names.push(...Reflect.ownKeys(owner).filter((name) => name !== "constructor"))
  return names
}
