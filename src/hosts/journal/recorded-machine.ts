import { ProtocolError } from "../../errors.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { HostCommand } from "../../machine/step.ts"
import type { Turn } from "../../machine/turn.ts"
import type { TurnMachine as BareTurnMachine } from "../../machine/turn-machine.ts"
import { TurnMachine } from "../../validated-turn-machine.ts"
import type { TurnCheckpoint } from "../../wire/checkpoint.ts"
import type { Effect } from "../../wire/effect.ts"
import type { Response } from "../../wire/response.ts"

/** What the journal of a machine knows about an input. */
export interface InputRecords {
  /** Whether a response is stored. Called when the machine handles it. */
  handles(response: Response): boolean
  /** Called when the machine has handled a response. */
  handled(): void
}

export interface RecordedInputs {
  readonly records: InputRecords
  /** The command that its journal stored and carries out now. */
  command: HostCommand | undefined
  /** Why the journal could not store what the machine has handled. */
  lost: { readonly error: unknown } | undefined
  /** The response that the machine has checked last, without what a journal could not be read with. */
  checked: Response | undefined
}

/** Whether this is the response that a recorded machine has checked last, and it left nothing in it that a journal could not be read with. */
export function isChecked(machine: BareTurnMachine, response: Response): boolean {
  return inputsOf(machine)?.checked === response
}

/** From now on, a machine accepts only inputs that its journal has recorded. */
export function acceptOnlyRecorded(machine: RecordedTurnMachine, records: InputRecords): void {
  machine.recorded = { records, command: undefined, lost: undefined, checked: undefined }
}

/** Carries out a command that is recorded. Throws what the machine throws. */
export function carryOut(machine: BareTurnMachine, command: HostCommand): void {
  const recorded = inputsOf(machine)
  if (recorded !== undefined) recorded.command = command
  try {
    machine.command(command)
  } finally {
    if (recorded !== undefined) recorded.command = undefined
  }
}

/** From now on, a machine emits nothing and has no checkpoint: it has handled responses that could not be stored. */
export function loseRecords(machine: BareTurnMachine, error: unknown): void {
  const recorded = inputsOf(machine)
  if (recorded !== undefined) recorded.lost = { error }
}

function inputsOf(machine: BareTurnMachine): RecordedInputs | undefined {
  return machine instanceof RecordedTurnMachine ? machine.recorded : undefined
}

/**
 * The machine of a journal. An input that is not in the journal is refused, and the turn is unchanged: a turn that acted on it could not
 * be resumed.
 */
export class RecordedTurnMachine extends TurnMachine {
  /** @internal For this file. `undefined`: no journal has the machine yet. */
  recorded: RecordedInputs | undefined = undefined

  static override of(config: TurnConfig, turn: Turn, unpolled: readonly Effect[] = []): RecordedTurnMachine {
    return super.of(config, turn, unpolled) as RecordedTurnMachine
  }

  /** @throws {ProtocolError} `not_recorded`; and as the method of the base class */
  override command(command: HostCommand): void {
    const recorded = this.recorded
    if (recorded !== undefined && recorded.command !== command)
      throw new ProtocolError(
        "not_recorded",
        `The turn has a journal, which does not have this command. Call journal.command(machine, { type: "${command?.type}", … }) instead, or abort the signal of the run.`,
      )
    super.command(command)
  }

  override check(response: unknown): Response {
    const checked = super.check(response)
    const recorded = this.recorded
    if (recorded !== undefined && checked !== response) recorded.checked = checked
    return checked
  }

  /** @throws {ProtocolError} `not_recorded`; and as the method of the base class */
  override handle(response: Response): { readonly status: "accepted" | "stale" } {
    const records = this.recorded?.records
    if (records?.handles(response) === false)
      throw new ProtocolError(
        "not_recorded",
        "The turn has a journal, which does not have this response. Wait for journal.response(machine, response), then pass the same object, or pass the journal to runTurn.",
      )
    const result = super.handle(response)
    records?.handled()
    return result
  }

  /** @throws the error of the journal, which could not store what led to the next effects */
  override poll(): Effect | undefined {
    this.#throwIfLost()
    return super.poll()
  }

  /** @throws the error of the journal, which could not store what led to this turn */
  override checkpoint(): TurnCheckpoint {
    this.#throwIfLost()
    return super.checkpoint()
  }

  #throwIfLost(): void {
    const lost = this.recorded?.lost
    if (lost !== undefined) throw lost.error
  }
}
