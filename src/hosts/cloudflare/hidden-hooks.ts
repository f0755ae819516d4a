/**
 * Hides members of a Durable Object's class from Workers, which can call all that is on the prototype of an object, also what is `protected` in
 * TypeScript, but not what the object has itself. In the class and its subclasses, nothing changes.
 */
export function hideFromWorkers(object: object, names: readonly string[]): void {
  for (const name of names)
    Object.defineProperty(object, name, {
      configurable: true,
      get: (): unknown => Reflect.get(Object.getPrototypeOf(object) as object, name, object),
      set: (value: unknown) => Object.defineProperty(object, name, { value, configurable: true, writable: true }),
    })
}
