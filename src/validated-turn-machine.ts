import { wireValidation } from "./checks/validation.ts"
import { readConfig, type TurnConfig } from "./machine/config.ts"
import type { Turn } from "./machine/turn.ts"
import { TurnMachine as BareTurnMachine } from "./machine/turn-machine.ts"
import type { TurnStart } from "./wire/config.ts"
import type { Effect } from "./wire/effect.ts"

/**
 * The {@link BareTurnMachine} with checks of everything that comes from outside: config, start, responses, actions and checkpoints.
 * `turn-machine/machine` has the class without the checks and without zod; this one extends it, so `instanceof` holds for both.
 */
export class TurnMachine extends BareTurnMachine {
  constructor(config: TurnConfig, start: TurnStart) {
    super(validated(config), start)
  }

  static override restore(config: TurnConfig, checkpoint: unknown): TurnMachine {
    return super.restore(validated(config), checkpoint) as TurnMachine
  }

  static override of(config: TurnConfig, turn: Turn, unpolled: readonly Effect[] = []): TurnMachine {
    return super.of(validated(config), turn, unpolled) as TurnMachine
  }
}

function validated(config: TurnConfig): TurnConfig {
  return readConfig(() => (config?.validation === undefined ? { ...config, validation: wireValidation } : config))
}
