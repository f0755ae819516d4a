import { readFileSync } from "node:fs"
import { join, relative } from "node:path"
import ts from "typescript"
import { beforeAll, expect, test } from "vitest"

/** Types that no user needs to name, although an exported declaration refers to them. */
const INTERNAL: readonly string[] = [
  "ConfigCode", // a part of TurnConfig
  "JudgeTable", // the judge's own rules
  "DurableObjectBase", // the platform's own class
  "Arbitrary", // an alias of fast-check's type
]

const ROOT = join(import.meta.dirname, "../..")
let checker: ts.TypeChecker
/** The exported symbols of each subpath. */
const entries = new Map<string, ReadonlySet<ts.Symbol>>()

beforeAll(() => {
  const files = sourcesOfSubpaths()
  const options: ts.CompilerOptions = {
    strict: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts"],
    noEmit: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
  }
  const program = ts.createProgram([...files.values()], options)
  checker = program.getTypeChecker()
  for (const [subpath, file] of files) {
    const source = checker.getSymbolAtLocation(program.getSourceFile(file) as ts.SourceFile) as ts.Symbol
    entries.set(subpath, new Set(checker.getExportsOfModule(source).map(resolved)))
  }
})

test("every type that an exported declaration names is exported from a subpath", () => {
  expect(entries.size).toBeGreaterThan(10)
  const exported = new Set([...entries.values()].flatMap((symbols) => [...symbols]))
  const missing = [...entries].flatMap(([subpath, symbols]) => unexported(symbols, exported).map((name) => `${subpath}: ${name}`))
  expect(missing).toEqual([])
})

test("the root exports every type that its declarations name", () => {
  const root = entries.get(".") as ReadonlySet<ts.Symbol>
  // The root's TurnMachine extends the class of the same name in turn-machine/machine.
  expect(unexported(root, root).filter((name) => !name.startsWith("TurnMachine "))).toEqual([])
})

test("the subpaths of goals and threads export the types of their options", () => {
  for (const subpath of ["./drivers/goal", "./hosts/thread"]) {
    const names = [...(entries.get(subpath) ?? [])].map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(["GoalMode", "TurnOrigin"]))
  }
})

function sourcesOfSubpaths(): ReadonlyMap<string, string> {
  const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { exports: Record<string, string | { types?: string }> }
  return new Map(
    Object.entries(exports).flatMap(([subpath, target]) => {
      const types = typeof target === "string" ? undefined : target.types
      return types === undefined ? [] : [[subpath, join(ROOT, types.replace("./dist/", "src/").replace(/\.d\.ts$/, ".ts"))] as const]
    }),
  )
}

/** The types of this package that the declarations of `symbols` name and `exported` lacks, as "Name (file, in Declaration)". */
function unexported(symbols: ReadonlySet<ts.Symbol>, exported: ReadonlySet<ts.Symbol>): readonly string[] {
  const found = new Map<ts.Symbol, string>()
  for (const symbol of symbols) {
    for (const declaration of symbol.declarations ?? []) {
      for (const named of namedTypes(declaration)) {
        const file = named.declarations?.[0]?.getSourceFile().fileName ?? ""
        if (!exported.has(named) && !INTERNAL.includes(named.name)) found.set(named, `${named.name} (${relative(ROOT, file)}, in ${symbol.name})`)
      }
    }
  }
  return [...found.values()]
}

function namedTypes(declaration: ts.Declaration): ReadonlySet<ts.Symbol> {
  const found = new Set<ts.Symbol>()
  const visit = (node: ts.Node): void => {
    if (ts.isBlock(node) || isPrivate(node)) return
    // The initial value of a variable is not a part of its type.
    if (ts.isVariableDeclaration(node)) {
      if (node.type !== undefined) visit(node.type)
      return
    }
    const name = ts.isTypeReferenceNode(node) ? node.typeName : ts.isExpressionWithTypeArguments(node) ? node.expression : undefined
    const symbol = name && checker.getSymbolAtLocation(name)
    if (symbol !== undefined && isOurs(resolved(symbol))) found.add(resolved(symbol))
    ts.forEachChild(node, visit)
  }
  visit(declaration)
  return found
}

function isPrivate(node: ts.Node): boolean {
  const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : []
  const name = (node as { readonly name?: ts.Node }).name
  return modifiers.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword) || (name !== undefined && ts.isPrivateIdentifier(name))
}

function isOurs({ declarations: [declaration] = [] }: ts.Symbol): boolean {
  if (declaration === undefined || ts.isTypeParameterDeclaration(declaration)) return false
  return declaration.getSourceFile().fileName.startsWith(`${ROOT}/src/`)
}

function resolved(symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
}
