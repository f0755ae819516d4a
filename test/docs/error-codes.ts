import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

/** Folders whose codes no host meets: the command line's tools tell theirs to the model, schemas have zod's. */
const LEFT_OUT = /^(?:cli|schemas|testing)\//

/** What the sources can say of an error: its code, and the kind of an error event. */
export interface ErrorNames {
  readonly codes: ReadonlySet<string>
  readonly kinds: ReadonlySet<string>
}

/**
 * Every error code and kind that the sources can give. Codes are: the names in types called …ErrorCode, and the texts that stand for a `code`, as a
 * property, as the first argument of an error, or as an argument to a function of the same file with a parameter `code`. Kinds are those of
 * objects that are no event by themselves.
 */
export function errorNames(folder: string): ErrorNames {
  const names = { codes: new Set<string>(), kinds: new Set<string>() }
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts") || LEFT_OUT.test(name)) continue
    collect(ts.createSourceFile(name, readFileSync(join(folder, name), "utf8"), ts.ScriptTarget.ES2022, true), names)
  }
  return names
}

function collect(file: ts.SourceFile, { codes, kinds }: { readonly codes: Set<string>; readonly kinds: Set<string> }): void {
  const places = codeParameters(file)
  const add = (node: ts.Node | undefined, names = codes): void => {
    if (node !== undefined && ts.isStringLiteral(node)) names.add(node.text)
  }
  const visit = (node: ts.Node): void => {
    if (ts.isTypeAliasDeclaration(node) && node.name.text.endsWith("ErrorCode")) {
      for (const type of ts.isUnionTypeNode(node.type) ? node.type.types : [node.type]) if (ts.isLiteralTypeNode(type)) add(type.literal)
    }
    if (ts.isPropertyAssignment(node) && node.name.getText() === "code") add(node.initializer)
    if (ts.isObjectLiteralExpression(node)) {
      // An error event has no `message` beside its kind; the failure of a turn that a goal is told of has one.
      const [kind, type, message] = ["kind", "type", "message"].map((name) => node.properties.find((property) => property.name?.getText() === name))
      if (kind !== undefined && type === undefined && message === undefined && ts.isPropertyAssignment(kind)) add(kind.initializer, kinds)
    }
    if (ts.isNewExpression(node) && node.expression.getText().endsWith("Error")) {
      // Plain errors begin with their message.
      const [first] = node.arguments ?? []
      if (first !== undefined && ts.isStringLiteral(first) && /^[a-z]+(?:_[a-z]+)*$/.test(first.text)) add(first)
    }
    if (ts.isCallExpression(node)) {
      const place = places.get(node.expression.getText())
      if (place !== undefined) add(node.arguments[place])
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
}

/** Which parameter of which function is the `code`. */
function codeParameters(file: ts.SourceFile): ReadonlyMap<string, number> {
  const places = new Map<string, number>()
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionDeclaration(node) || ts.isArrowFunction(node)) {
      const place = node.parameters.findIndex((parameter) => parameter.name.getText() === "code")
      const name = ts.isFunctionDeclaration(node) ? node.name : ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined
      if (place >= 0 && name !== undefined) places.set(name.getText(), place)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return places
}
