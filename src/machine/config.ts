import { SchemaError } from "../errors.ts"
import { copyOf } from "../json.ts"
import type { Projector } from "../projectors/projector.ts"
import { shortened } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { CompleteTurnConfigData, TurnConfigData, TurnStart } from "../wire/config.ts"
import type { Generation } from "../wire/llm.ts"
import type { Message } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import type { ProtocolDriver } from "./driver.ts"

/** Checks values from outside. Each check returns a clean value, or throws an error that says where the value is wrong. */
export interface Validation {
  /** @throws {SchemaError} `invalid_response` */
  response(value: unknown): Response
  /** @throws {SchemaError} `invalid_actions` */
  actions(value: unknown): readonly DriverAction[]
  /** @throws {SchemaError} `invalid_start` */
  start(value: unknown): TurnStart
  /** @throws {SchemaError} `invalid_config` */
  config(value: unknown): TurnConfigData
  /** @throws {CheckpointError} `invalid_checkpoint` */
  checkpoint(value: unknown): TurnCheckpoint
}

/** The parts of a configuration that are code. Checkpoints do not contain them. */
interface ConfigCode {
  /** The policy of the turn, such as `chatDriver()`. */
  readonly driver: ProtocolDriver
  /** Renders the transcript as a request, such as `chatProjector`. */
  readonly projector: Projector
  /**
   * Makes the message that informs the model that its limit is reached. `ended`: the turn ends with it, and the model reads it in a later
   * turn. `last_iteration`: one model call follows. Must be pure. Default: a sentence of this package for each.
   */
  readonly turnLimitMessage?: ((id: string, maxIterations: number, when: "ended" | "last_iteration") => Message) | undefined
  /** Checks what comes from outside. Absent: values are trusted to have their declared types. */
  readonly validation?: Validation | undefined
}

/** A turn's configuration. `driver`, `projector` and `model` are needed; every other key has a default. */
export interface TurnConfig extends TurnConfigData, ConfigCode {}

/** A {@link TurnConfig} with its defaults filled in. */
export interface CompleteTurnConfig extends CompleteTurnConfigData, ConfigCode {}

const completed = new WeakSet<TurnConfig>()

/** Fills in the defaults. Optional keys that are `undefined` are left out. Complete configurations are returned as they are. */
export function completeConfig(config: TurnConfig): CompleteTurnConfig {
  return completed.has(config) ? (config as CompleteTurnConfig) : complete(config, config)
}

/**
 * Checks a configuration where it has a `validation`, and fills in the defaults. Keys that the wire does not know, such as those of
 * a tool that carries its code, are left out, because they would enter requests and checkpoints.
 * @throws {SchemaError} `invalid_config`
 */
export function checkedConfig(config: TurnConfig): CompleteTurnConfig {
  if (completed.has(config)) return config as CompleteTurnConfig
  if (typeof config !== "object" || config === null) throw invalidConfig("/model", NEEDS_MODEL)
  const code = readConfig(() => codeOf(config))
  checkValidation(code.validation)
  const data = code.validation === undefined ? config : code.validation.config(config)
  return readConfig(() => {
    checkCode(code)
    return complete(code, data)
  })
}

const NEEDS_MODEL = "the config needs `model`, the name of the model at its provider"

/**
 * Runs a function that reads a configuration, whose getters may throw.
 * @throws {SchemaError} `invalid_config`, with the getter's error as its `cause`
 */
export function readConfig<Result>(read: () => Result): Result {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof SchemaError) throw cause
    throw new SchemaError("invalid_config", "Not a valid turn configuration: reading it throws.", [{ path: "", message: "it cannot be read" }], {
      cause,
    })
  }
}

function codeOf({ driver, projector, turnLimitMessage, validation }: TurnConfig): ConfigCode {
  return { driver, projector, turnLimitMessage, validation }
}

function complete({ driver, projector, turnLimitMessage, validation }: ConfigCode, data: TurnConfigData): CompleteTurnConfig {
  const { model, modelVariant, sessionId, runSessionId, systemPrompt, tools, maxContextTokens, maxResultTokens, maxIterations, maxTokens } = data
  const { parallelToolCalls, cache } = data
  const config: CompleteTurnConfig = {
    driver,
    projector,
    turnLimitMessage,
    validation,
    model,
    ...(modelVariant !== undefined && { modelVariant }),
    sessionId: sessionId ?? "turn",
    ...(runSessionId !== undefined && { runSessionId }),
    systemPrompt: systemPrompt ?? "",
    // A copy, because it is frozen when it is handed out.
    tools: copyOf(tools ?? []),
    ...(maxContextTokens !== undefined && { maxContextTokens }),
    ...(maxResultTokens !== undefined && { maxResultTokens }),
    ...(maxIterations !== undefined && { maxIterations }),
    ...(maxTokens !== undefined && { maxTokens }),
    generation: copyOf(withoutUndefined(data.generation ?? {})),
    ...(parallelToolCalls !== undefined && { parallelToolCalls }),
    ...(cache !== undefined && { cache }),
    syncExecutionSurface: data.syncExecutionSurface ?? false,
    emitLlmTrace: data.emitLlmTrace ?? false,
  }
  completed.add(config)
  return config
}

/** Returns the limits without those that are `undefined`, which are not JSON. */
function withoutUndefined(generation: NonNullable<TurnConfigData["generation"]>): Generation {
  const entries = Object.entries(generation).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries)
}

/**
 * Checks that a value is a driver. Catches factories that were not called, and drivers without a needed callback.
 * @throws {SchemaError} `invalid_config`, at `/driver`
 */
export function checkDriver(driver: unknown): asserts driver is ProtocolDriver {
  if (typeof driver === "function") {
    const name = driver.name === "" || driver.name === "driver" ? "the function" : driver.name
    throw invalidConfig("/driver", `${name} returns a driver; call it, as in driver: chatDriver()`)
  }
  const members = (driver ?? {}) as { readonly [Name in keyof ProtocolDriver]?: unknown }
  const missing = CALLBACKS.filter((name) => typeof members[name] !== "function")
  if (missing.length === CALLBACKS.length) throw invalidConfig("/driver", "a driver is needed, such as chatDriver()")
  if (missing.length === 0) {
    // Both are in every checkpoint.
    if (typeof members.name !== "string") throw invalidConfig("/driver/name", "the driver needs a name")
    const { version } = members
    if (Number.isSafeInteger(version) && (version as number) >= 0) return
    throw invalidConfig("/driver/version", `the driver "${shortened(members.name)}" needs a version: 1, and more when its state changes`)
  }
  const name = typeof members.name === "string" ? `the driver "${shortened(members.name)}"` : "the driver"
  throw invalidConfig("/driver", `${name} does not have the function ${missing.join(" or ")}`)
}

/** The callbacks that every driver must have. */
const CALLBACKS = ["prepareIteration", "onLlmComplete", "onToolResults"] as const satisfies readonly (keyof ProtocolDriver)[]

function checkCode({ driver, projector, turnLimitMessage }: { readonly [Name in keyof ConfigCode]?: unknown }): void {
  checkDriver(driver)
  if (typeof projector !== "function")
    throw invalidConfig("/projector", "a projector is needed: pass a function such as chatProjector, not chatProjector()")
  if (turnLimitMessage !== undefined && typeof turnLimitMessage !== "function")
    throw invalidConfig("/turnLimitMessage", "it must be a function that returns a message: (id, maxIterations) => message")
}

/** The functions of a {@link Validation}. */
const CHECKS = ["response", "actions", "start", "config", "checkpoint"] as const satisfies readonly (keyof Validation)[]

function checkValidation(validation: unknown): void {
  if (validation === undefined) return
  const members = (validation ?? {}) as { readonly [Name in keyof Validation]?: unknown }
  const missing = CHECKS.filter((name) => readConfig(() => typeof members[name] !== "function"))
  if (missing.length === 0) return
  throw invalidConfig("/validation", `it does not have the functions ${missing.join(", ")}; pass wireValidation, or leave it out`)
}

function invalidConfig(path: string, message: string): SchemaError {
  return new SchemaError("invalid_config", `Not a valid turn configuration: "${path}": ${message}.`, [{ path, message }])
}
