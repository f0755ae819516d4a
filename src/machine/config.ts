import { SchemaError } from "../errors.ts"
import type { Projector } from "../projectors/projector.ts"
import type { DriverAction } from "../wire/action.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { CompleteTurnConfigData, TurnConfigData, TurnStart } from "../wire/config.ts"
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

/** The parts of a configuration that can only be given in code. They are not saved. */
interface ConfigCode {
  /** The policy of the turn, such as `chatDriver()`. */
  readonly driver: ProtocolDriver
  /** Renders the transcript as a request, such as `chatProjector`. */
  readonly projector: Projector
  /** Makes the message that informs the model that its limit is reached. Must be pure. Default: a sentence of this package. */
  readonly turnLimitMessage?: ((id: string, maxIterations: number) => Message) | undefined
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
  const data = config.validation === undefined ? config : config.validation.config(config)
  checkCode(config)
  return complete(config, data)
}

function complete({ driver, projector, turnLimitMessage, validation }: TurnConfig, data: TurnConfigData): CompleteTurnConfig {
  const { model, modelVariant, sessionId, runSessionId, systemPrompt, tools, maxContextTokens, maxIterations } = data
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
    tools: tools ?? [],
    ...(maxContextTokens !== undefined && { maxContextTokens }),
    ...(maxIterations !== undefined && { maxIterations }),
    generation: data.generation ?? {},
    syncExecutionSurface: data.syncExecutionSurface ?? false,
    emitLlmTrace: data.emitLlmTrace ?? false,
  }
  completed.add(config)
  return config
}

/**
 * Checks that a value is a driver. Catches factories that were not called.
 * @throws {SchemaError} `invalid_config`, at `/driver`
 */
export function checkDriver(driver: unknown): asserts driver is ProtocolDriver {
  if (typeof driver === "function") {
    const name = driver.name === "" || driver.name === "driver" ? "the function" : driver.name
    throw invalidConfig("/driver", `${name} makes a driver; call it, as in driver: chatDriver()`)
  }
  if (typeof (driver as ProtocolDriver | null | undefined)?.prepareIteration !== "function")
    throw invalidConfig("/driver", "a driver is needed, such as chatDriver()")
}

/** Refuses a driver or projector that was called where it must not be, or not called where it must. */
function checkCode(config: TurnConfig): void {
  const { driver, projector }: { readonly driver?: unknown; readonly projector?: unknown } = config
  checkDriver(driver)
  if (typeof projector !== "function")
    throw invalidConfig("/projector", "a projector is needed: a function such as chatProjector, which is given without calling it")
}

function invalidConfig(path: string, message: string): SchemaError {
  return new SchemaError("invalid_config", `Not a valid turn configuration: "${path}": ${message}.`, [{ path, message }])
}
