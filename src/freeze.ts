/**
 * Freezes a value and everything in it, and returns it. A value that is frozen already is taken to be frozen throughout, so freezing what
 * holds earlier values costs what is new in it. Lists that are built on demand are frozen when they are built.
 */
export function frozen<Value>(value: Value): Value {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value) && !ArrayBuffer.isView(value)) freeze(value)
  return value
}

function freeze(value: object): void {
  try {
    // Before what it holds, which may hold it.
    Object.freeze(value)
    if (Array.isArray(value)) for (const item of value) frozen(item)
    // Not the keys as a list, which would be the most that a turn allocates.
    else for (const key in value) if (isOwn(value, key) && !isBuiltOnDemand(value, key)) frozen((value as Readonly<Record<string, unknown>>)[key])
  } catch {
    // A proxy may refuse. A turn without checks may hold one, and must not fail for it.
  }
}

/** Whether a key that a loop over an object names is not one of its prototype, to which another package may have added some. As fast as no check, and `Object.hasOwn` is not. */
export function isOwn(value: object, key: string): boolean {
  return hasOwn.call(value, key)
}

const { hasOwnProperty: hasOwn } = Object.prototype

/** Whether a list of an object is built when it is read. */
export function isBuiltOnDemand(value: object, key: string): boolean {
  return (key === "messages" || key === "attachments") && Object.getOwnPropertyDescriptor(value, key)?.get !== undefined
}
