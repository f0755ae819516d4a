/**
 * Generates the checks of src/checks/generated from the zod schemas of src/schemas, as plain functions that load no zod. With `--check` it
 * writes nothing and fails if a file is stale.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import * as z from "zod"
import * as action from "../src/schemas/action.ts"
import * as approval from "../src/schemas/approval.ts"
import * as checklist from "../src/schemas/checklist.ts"
import * as checkpoint from "../src/schemas/checkpoint.ts"
import * as config from "../src/schemas/config.ts"
import * as effect from "../src/schemas/effect.ts"
import * as event from "../src/schemas/event.ts"
import * as goal from "../src/schemas/goal.ts"
import * as journal from "../src/schemas/journal.ts"
import { Json } from "../src/schemas/json.ts"
import * as llm from "../src/schemas/llm.ts"
import * as message from "../src/schemas/message.ts"
import * as response from "../src/schemas/response.ts"
import * as thread from "../src/schemas/thread.ts"
import * as tool from "../src/schemas/tool.ts"

type Schema = z.core.$ZodType
type Def = z.core.$ZodTypes["_zod"]["def"]

/** The schemas with names: their checks have the same names. */
const NAMED: readonly object[] = [message, tool, llm, approval, event, effect, action, response, config, checkpoint, goal, journal, thread, checklist]

/** The schemas that each file is made for. What a file before it has is imported from there. */
const FILES: readonly (readonly [file: string, about: string, schemas: Readonly<Record<string, Schema>>])[] = [
  [
    "turn.ts",
    "What a turn machine takes from outside.",
    {
      Response: response.Response,
      DriverActions: z.array(action.DriverAction),
      TurnStart: config.TurnStart,
      TurnConfigData: config.TurnConfigData,
      TurnCheckpoint: checkpoint.TurnCheckpoint,
      Decision: approval.Decision,
    },
  ],
  [
    "records.ts",
    "The records of journals and threads, and what hosts take for them.",
    {
      JournalRecord: journal.JournalRecord,
      ThreadRecord: thread.ThreadRecord,
      GoalCommand: goal.GoalCommand,
      GoalCheckResult: goal.GoalCheckResult,
    },
  ],
  [
    "judge.ts",
    "What a judge takes from outside.",
    {
      ChecklistPolicy: checklist.ChecklistPolicy,
      JudgedTurn: checklist.JudgedTurn,
      JudgeCheckpoint: checklist.JudgeCheckpoint,
      ChecklistState: checklist.ChecklistState,
    },
  ],
]

const FOLDER = "src/checks/generated"
const ROOT = fileURLToPath(new URL("..", import.meta.url))

/** The words of src/checks/reading.ts that a file uses are imported. */
const READING = [
  ...["above", "atLeast", "atMost", "count", "either", "enter", "flag", "int", "json", "leave", "list", "literal", "nullable", "number"],
  ...["oneOf", "optional", "record", "refuseOthers", "tagged", "text"],
]

/** Returns the text of every file, by its path. */
export function generatedFiles(): Readonly<Record<string, string>> {
  const functions = new Map<Schema, CheckFunction>()
  const files = FILES.map(([file, about, schemas]) => [file, about, new Writer(file, functions).write(schemas)] as const)
  return Object.fromEntries(files.map(([file, about, writer]) => [`${FOLDER}/${file}`, formatted(writer.text(about))]))
}

function formatted(text: string): string {
  return execFileSync(`${ROOT}node_modules/.bin/biome`, ["check", "--write", "--stdin-file-path=src/checks/generated/file.ts"], {
    cwd: ROOT,
    input: text,
    encoding: "utf8",
  })
}

interface CheckFunction {
  readonly name: string
  readonly file: string
  isExported: boolean
}

const NAMES: ReadonlyMap<unknown, string> = new Map(
  NAMED.flatMap((module) =>
    Object.entries(module).flatMap(([name, value]) => (value instanceof z.core.$ZodType ? [[value, name] as const] : [])),
  ).reverse(),
)

/** Writes one file: a function for each object and union, after those that it calls. */
class Writer {
  readonly #file: string
  readonly #functions: Map<Schema, CheckFunction>
  readonly #blocks: { readonly of: CheckFunction | undefined; readonly text: string }[] = []
  /** Names of lists of texts, by the lists. */
  readonly #lists = new Map<string, string>()
  readonly #imports = new Map<string, Set<string>>()

  constructor(file: string, functions: Map<Schema, CheckFunction>) {
    this.#file = file
    this.#functions = functions
  }

  write(schemas: Readonly<Record<string, Schema>>): this {
    for (const [name, schema] of Object.entries(schemas)) {
      this.#function(schema, lowerFirst(name))
      const made = this.#functions.get(schema)
      if (made !== undefined) made.isExported = true
    }
    return this
  }

  text(about: string): string {
    const body = this.#blocks.map(({ of, text }) => (of?.isExported === true ? `export ${text}` : text)).join("\n\n")
    const used = READING.filter((name) => new RegExp(`\\b${name}\\b[(,\\]]`).test(body))
    const types = ["Check", "Fields", "Key", "Reading", "Tags"].filter((name) => new RegExp(`(: |, )${name}\\b`).test(body))
    const imports = [...this.#imports].map(([file, names]) => `import { ${[...names].sort().join(", ")} } from "./${file}"`).sort()
    const reading = [...used, ...types.map((name) => `type ${name}`)].sort((left, right) =>
      compare(left.replace("type ", ""), right.replace("type ", "")),
    )
    return [
      `// Generated from src/schemas by scripts/generate-checks.ts. Change the schemas, and run "npm run checks".`,
      `/** ${about} */`,
      `import { ${reading.join(", ")} } from "../reading.ts"`,
      ...imports,
      "",
      body,
      "",
    ].join("\n")
  }

  /** The name of the function that checks a schema. `name`: what to call a schema without a name of its own. */
  #function(schema: Schema, name: string): string {
    const word = this.#word(schema)
    if (word !== undefined) return word
    const known = this.#functions.get(schema)
    if (known !== undefined) return this.#called(known)
    const made: CheckFunction = { name: NAMES.has(schema) ? lowerFirst(NAMES.get(schema) as string) : name, file: this.#file, isExported: false }
    for (const other of this.#functions.values()) if (other.name === made.name) throw new Error(`Two checks have the name ${made.name}.`)
    if (READING.includes(made.name)) throw new Error(`The check ${made.name} has the name of a word of reading.ts.`)
    this.#functions.set(schema, made)
    const text = `function ${made.name}(value: unknown, at: Reading, key: Key): unknown {\n${this.#body(schema, made.name)}\n}`
    this.#blocks.push({ of: made, text })
    return made.name
  }

  #called(known: CheckFunction): string {
    if (known.file !== this.#file) {
      known.isExported = true
      const names = this.#imports.get(known.file) ?? new Set()
      this.#imports.set(known.file, names.add(known.name))
    }
    return known.name
  }

  #body(schema: Schema, name: string): string {
    const def = schema._zod.def as Def
    if (def.type === "object") return this.#object(def, name)
    if (def.type === "union" && "discriminator" in def) return this.#tagged(def as z.core.$ZodDiscriminatedUnionDef, name)
    return `return ${this.#expression(schema, "value", "key", name)}`
  }

  #object(def: z.core.$ZodObjectDef, name: string): string {
    refuseChecks(def, name)
    const missing = messageOfMissing(def)
    const lines = [`const from = enter(value, at, key${missing}); if (from === undefined) return undefined`]
    const fields = Object.entries(def.shape).map(([field, schema]) => {
      if (field === "__proto__") throw new Error(`${name} has a member __proto__.`)
      const inner = isExactOptional(schema) ? schema._zod.def.innerType : schema
      const value = this.#expression(inner, `from[${quoted(field)}]`, quoted(field), name + upperFirst(field))
      return { field, value, isOptional: schema._zod.optin !== undefined }
    })
    const firstOptional = fields.findIndex(({ isOptional }) => isOptional)
    // An object literal has its members in the object; those that are added later lie apart.
    const literal = firstOptional < 0 ? fields : fields.slice(0, firstOptional)
    lines.push(`const to: Fields = {${literal.map(({ field, value }) => `${quoted(field)}: ${value},`).join("\n")}}`)
    for (const { field, value, isOptional } of fields.slice(literal.length)) {
      const assigned = `to[${quoted(field)}] = ${value}`
      lines.push(isOptional ? `if (${quoted(field)} in from) ${assigned}` : assigned)
    }
    if (def.catchall !== undefined) {
      if ((def.catchall._zod.def as Def).type !== "never") throw new Error(`${name} accepts any keys.`)
      lines.push(`refuseOthers(from, at, ${JSON.stringify(Object.keys(def.shape))})`)
    }
    return [...lines, "return leave(from, to, at)"].join("\n")
  }

  #tagged(def: z.core.$ZodDiscriminatedUnionDef, name: string): string {
    refuseChecks(def, name)
    const { discriminator } = def
    const tags = def.options.flatMap((option) => {
      const values = [...(option._zod.propValues?.[discriminator] ?? [])]
      const check = this.#function(
        option,
        name + upperFirst(camel(typeof values[0] === "string" ? values[0] : `${discriminator}_${String(values[0])}`)),
      )
      return values.map((tag) => `[${JSON.stringify(tag)}, ${check}]`)
    })
    this.#blocks.push({ of: undefined, text: `const ${upper(name)}: Tags = new Map<unknown, Check>([${tags.join(", ")}])` })
    return `return tagged(value, at, key, ${JSON.stringify(discriminator)}, ${upper(name)})`
  }

  /** The word that checks a schema without more to say; `undefined` if there is none. */
  #word(schema: Schema): string | undefined {
    if (schema === (Json as unknown)) return "json"
    const text = this.#leaf(schema, "value", "key")
    return /^(\w+)\(value, at, key\)$/.exec(text ?? "")?.[1]
  }

  #expression(schema: Schema, value: string, key: string, name: string): string {
    if (schema === (Json as unknown)) return `json(${value}, at, ${key})`
    const leaf = this.#leaf(schema, value, key)
    if (leaf !== undefined) return leaf
    const def = schema._zod.def as Def
    refuseChecks(def, name)
    switch (def.type) {
      case "object":
        return `${this.#function(schema, name)}(${value}, at, ${key})`
      case "enum":
        return `oneOf(${value}, at, ${key}, ${this.#list(Object.values(def.entries), NAMES.get(schema) ?? name)})`
      case "array":
        return `list(${value}, at, ${key}, ${this.#function(def.element, `${name}Item`)})`
      case "record":
        if (this.#word(def.keyType) !== "text") throw new Error(`${name} has keys that are not any text.`)
        return `record(${value}, at, ${key}, ${this.#function(def.valueType, `${name}Value`)})`
      case "nullable":
        return `nullable(${value}, at, ${key}, ${this.#function(def.innerType, `${name}Value`)})`
      case "optional":
        if (isExactOptional(schema)) throw new Error(`${name} is optional where it is not a member.`)
        return `optional(${value}, at, ${key}, ${this.#function(def.innerType, `${name}Value`)})`
      case "union":
        if ("discriminator" in def) return `${this.#function(schema, name)}(${value}, at, ${key})`
        return `either(${value}, at, ${key}, [${def.options.map((option, index) => this.#function(option, `${name}${index + 1}`)).join(", ")}])`
      default:
        throw new Error(`${name}: no check is generated for a schema of the type ${def.type}.`)
    }
  }

  /** The check of a text, a number, a flag or a literal. */
  #leaf(schema: Schema, value: string, key: string): string | undefined {
    const def = schema._zod.def as Def
    switch (def.type) {
      case "string":
        refuseChecks(def, "A text")
        if ("format" in def) throw new Error("A text has a format.")
        return `text(${value}, at, ${key}${messageOfMissing(def)})`
      case "boolean":
        return `flag(${value}, at, ${key})`
      case "literal": {
        const [only] = def.values
        if (def.values.length !== 1) throw new Error("A literal has several values.")
        return `literal(${value}, at, ${key}, ${JSON.stringify(only)})`
      }
      case "number":
        return numberCheck(def, value, key)
      default:
        return undefined
    }
  }

  #list(values: readonly unknown[], name: string): string {
    const text = JSON.stringify(values)
    const known = this.#lists.get(text)
    if (known !== undefined) return known
    const list = `${upper(lowerFirst(name))}_VALUES`
    this.#lists.set(text, list)
    this.#blocks.push({ of: undefined, text: `const ${list}: readonly string[] = ${text}` })
    return list
  }
}

function numberCheck(def: z.core.$ZodNumberDef, value: string, key: string): string {
  const isInt = "format" in def
  if (isInt && def.format !== "safeint") throw new Error(`A number has the format ${String(def.format)}.`)
  const limits = (def.checks ?? []).map((check) => check._zod.def as z.core.$ZodCheckGreaterThanDef | z.core.$ZodCheckLessThanDef)
  const [only] = limits
  if (isInt && limits.length === 1 && only?.check === "greater_than" && only.inclusive && only.value === 0) return `count(${value}, at, ${key})`
  return limits.reduce(
    (inner, limit) => `${limitCheck(limit)}(${inner}, at, ${key}, ${String(limit.value)})`,
    `${isInt ? "int" : "number"}(${value}, at, ${key})`,
  )
}

function limitCheck({ check, inclusive }: z.core.$ZodCheckGreaterThanDef | z.core.$ZodCheckLessThanDef): string {
  if (check === "greater_than") return inclusive ? "atLeast" : "above"
  if (check === "less_than" && inclusive) return "atMost"
  throw new Error(`A number has the check ${String(check)}.`)
}

/** A further argument: the message of a schema for a value that is missing, if it has one of its own. */
function messageOfMissing({ error }: { readonly error?: z.core.$ZodErrorMap<never> | undefined }): string {
  if (error === undefined) return ""
  const [missing, other] = [undefined, 1].map((input) => error({ code: "invalid_type", expected: "string", input, path: [], message: "" } as never))
  if (typeof missing !== "string" || (other !== undefined && other !== null))
    throw new Error("A schema has a message that is not for missing values.")
  return `, ${JSON.stringify(missing)}`
}

function refuseChecks({ checks }: { readonly checks?: readonly unknown[] | undefined }, name: string): void {
  if (checks !== undefined && checks.length > 0) throw new Error(`${name} has a check that is not generated.`)
}

function isExactOptional(schema: Schema): schema is z.core.$ZodExactOptional {
  return schema._zod.traits.has("$ZodExactOptional")
}

const quoted = (text: string): string => JSON.stringify(text)
const upperFirst = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
const camel = (text: string): string => text.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
const upper = (text: string): string => text.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
const compare = (left: string, right: string): number => (left.toLowerCase() < right.toLowerCase() ? -1 : 1)

function main(args: readonly string[]): void {
  for (const [path, text] of Object.entries(generatedFiles())) {
    if (args.includes("--check")) {
      if (currentText(path) === text) continue
      process.stderr.write(`${path} is stale. Run "npm run checks" and commit the file.\n`)
      process.exitCode = 1
    } else {
      mkdirSync(dirname(`${ROOT}${path}`), { recursive: true })
      writeFileSync(`${ROOT}${path}`, text)
    }
  }
}

function currentText(path: string): string {
  try {
    return readFileSync(`${ROOT}${path}`, "utf8")
  } catch {
    return ""
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main(process.argv.slice(2))
