/**
 * Generated regions of a document: text between `<!-- generated: NAME -->` and `<!-- end: NAME -->`, each on a line of its own.
 */

/** Returns the text of a region. @throws {Error} the document has no such region */
export function regionOf(file: string, text: string, name: string): string {
  const [before, after] = marks(name)
  const start = text.indexOf(before)
  const end = text.indexOf(after)
  if (start < 0 || end < start)
    throw new Error(`${file} has no region "${name}": it begins with ${before} and ends with ${after}, each on a line of its own.`)
  return text.slice(start + before.length, end)
}

/** Returns the document with another text in a region. @throws {Error} the document has no such region */
export function replaceRegion(file: string, text: string, name: string, drawn: string): string {
  const [before, after] = marks(name)
  const region = regionOf(file, text, name)
  return text.replace(`${before}${region}${after}`, () => `${before}\n\n${drawn}\n\n${after}`)
}

function marks(name: string): readonly [string, string] {
  return [`<!-- generated: ${name} -->`, `<!-- end: ${name} -->`]
}
