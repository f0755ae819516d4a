import type { Turn, TurnConfig } from "./machine/turn.ts"
import { TurnMachine as BareTurnMachine } from "./machine/turn-machine.ts"
import type { TurnStart } from "./schemas/config.ts"
import type { Effect } from "./schemas/effect.ts"
import { wireValidation } from "./schemas/validation.ts"

/**
 * The {@link BareTurnMachine} that checks everything that comes from outside: config, start, responses, actions and
 * checkpoints. `turn-machine/machine` has the same class without the checks, and without zod.
 */
export class TurnMachine extends BareTurnMachine {
  constructor(config: TurnConfig, start: TurnStart) {
    super(checked(config), start)
  }

  static override restore(config: TurnConfig, checkpoint: unknown): TurnMachine {
    return super.restore(checked(config), checkpoint) as TurnMachine
  }

  static override of(config: TurnConfig, turn: Turn, unpolled: readonly Effect[] = []): TurnMachine {
    return super.of(checked(config), turn, unpolled) as TurnMachine
  }
}

function checked(config: TurnConfig): TurnConfig {
  return { validation: wireValidation, ...config }
}
