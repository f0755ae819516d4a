import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

/** Folders whose codes never reach a host: tools of the command line report theirs to the model, schemas have those of zod. */
const LEFT_OUT = /^(?:cli|schemas|testing|viewer)\//

/** The error codes and the kinds of error events in the sources. */
export interface ErrorNames {
  readonly codes: ReadonlySet<string>
  readonly kinds: ReadonlySet<string>
}

/**
 * Returns every error code and kind in the sources. Codes are the members of types named …ErrorCode, and literals used as a `code`: as a
 * property, as the first argument of an error or of `super` in its constructor, or as an argument for a parameter named `code` of a function in the same file or of an exported one. Kinds are
 * those of objects without a `type`.
 */
export function errorNames(folder: string): ErrorNames {
  const names = { codes: new Set<string>(), kinds: new Set<string>() }
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !LEFT_OUT.test(name))
    .map((name) => ts.createSourceFile(name, readFileSync(join(folder, name), "utf8"), ts.ScriptTarget.ES2022, true))
  const exported = new Map(files.flatMap((file) => [...codeParameters(file, true)]))
  for (const file of files) collect(file, new Map([...exported, ...codeParameters(file)]), names)
  return names
}

function collect(
  file: ts.SourceFile,
  places: ReadonlyMap<string, number>,
  { codes, kinds }: { readonly codes: Set<string>; readonly kinds: Set<string> },
): void {
  const add = (node: ts.Node | undefined, names = codes): void => {
    if (node !== undefined && ts.isStringLiteral(node)) names.add(node.text)
  }
  const visit = (node: ts.Node): void => {
    if (ts.isTypeAliasDeclaration(node) && node.name.text.endsWith("ErrorCode")) {
      for (const type of ts.isUnionTypeNode(node.type) ? node.type.types : [node.type]) if (ts.isLiteralTypeNode(type)) add(type.literal)
    }
    if (ts.isPropertyAssignment(node) && node.name.getText() === "code") add(node.initializer)
    if (ts.isObjectLiteralExpression(node)) {
      // An error event has none of these beside its kind: a message has the failure of a turn that is reported to a goal, `retryable` that of a model call,
      // and a position an event of a thread.
      const [kind, ...others] = ["kind", "type", "message", "retryable", "position"].map((name) =>
        node.properties.find((property) => property.name?.getText() === name),
      )
      if (kind !== undefined && others.every((other) => other === undefined) && ts.isPropertyAssignment(kind)) add(kind.initializer, kinds)
    }
    if (isErrorCall(node)) {
      // The first argument of a plain error is its message.
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

/** `new …Error(…)`, or `super(…)` in the constructor of an error that has one code. */
function isErrorCall(node: ts.Node): node is ts.NewExpression | ts.CallExpression {
  if (ts.isNewExpression(node)) return node.expression.getText().endsWith("Error")
  return ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.SuperKeyword
}

/** Maps each function, or each exported one, with a parameter `code` to the position of that parameter. */
function codeParameters(file: ts.SourceFile, exportedOnly = false): ReadonlyMap<string, number> {
  const places = new Map<string, number>()
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionDeclaration(node) || ts.isArrowFunction(node)) {
      const place = node.parameters.findIndex((parameter) => parameter.name.getText() === "code")
      const name = ts.isFunctionDeclaration(node) ? node.name : ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined
      const counts = !exportedOnly || (ts.isFunctionDeclaration(node) && node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword))
      if (place >= 0 && name !== undefined && counts) places.set(name.getText(), place)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return places
}
