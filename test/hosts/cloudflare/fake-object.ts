import type { TurnObjectContext, TurnObjectSocket, TurnObjectStorage } from "../../../src/hosts/cloudflare/platform.ts"
import type { TurnObject } from "../../../src/hosts/cloudflare/turn-object.ts"
import { FakeStorage } from "./fake-storage.ts"

/** What happens to the storage of an object, in order. */
export type StorageEvent = "setAlarm" | "deleteAlarm" | "write"

/** The place of an object: its storage and its alarm, which outlive its instances. */
export class FakePlace {
  readonly storage: FakeStorage & TurnObjectStorage
  readonly happened: StorageEvent[] = []
  alarmAt: number | null = null
  sockets: TurnObjectSocket[] = []
  /** What `setAlarm` throws. */
  alarmError: Error | undefined

  constructor() {
    const storage = new FakeStorage()
    storage.onStatement = (query) => {
      if (query.startsWith("INSERT INTO turn_machine_do_texts")) this.happened.push("write")
    }
    this.storage = Object.assign(storage, {
      getAlarm: async () => this.alarmAt,
      setAlarm: async (at: number) => {
        if (this.alarmError !== undefined) throw this.alarmError
        this.happened.push("setAlarm")
        this.alarmAt = at
      },
      deleteAlarm: async () => {
        this.happened.push("deleteAlarm")
        this.alarmAt = null
      },
      sync: async () => {},
    })
  }

  /** The context of a new instance of the object. The old one lost its storage. */
  context(): TurnObjectContext {
    return {
      id: { toString: () => "object-1" },
      // Another one for each instance, as on the platform.
      storage: Object.create(this.storage) as TurnObjectStorage,
      acceptWebSocket: (socket) => void this.sockets.push(socket),
      getWebSockets: () => this.sockets,
    }
  }

  /** Delivers the alarm, as the platform does when it is due. */
  async ring(object: TurnObject): Promise<void> {
    this.alarmAt = null
    await object.alarm()
  }
}
