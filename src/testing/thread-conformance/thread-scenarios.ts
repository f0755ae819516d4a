import type { ConformanceFault } from "../host-conformance/conformance-error.ts"
import type { ThreadConformanceOptions, ThreadPromises } from "./tested-thread.ts"
import type { Act, MakeThreadHost } from "./thread-acts.ts"
import type { ThreadLaw } from "./thread-laws.ts"
import { type Kills, ThreadRun } from "./thread-run.ts"
import { type Stage, THREAD_STORIES, type ThreadStory } from "./thread-stories.ts"
import { ThreadWorld } from "./thread-world.ts"

/** A way to disturb threads. All its runs are made once, and each of its laws is a check. */
export interface ThreadScenario {
  readonly name: string
  readonly laws: readonly ThreadLaw[]
  readonly needs?: readonly (keyof ThreadPromises)[]
  run(lab: ThreadLaboratory): Promise<void>
}

/** Plays stories with a host under test, and collects the faults. */
export class ThreadLaboratory {
  readonly faults: ConformanceFault[] = []
  /** How long a second process may run beside the first one, which waits, in milliseconds. */
  readonly idleMs: number
  readonly promises: ThreadPromises
  readonly #makeHost: MakeThreadHost
  readonly #options: ThreadConformanceOptions

  constructor(makeHost: MakeThreadHost, options: ThreadConformanceOptions) {
    this.#makeHost = makeHost
    this.#options = options
    this.promises = options.promises ?? {}
    this.idleMs = options.idleMs ?? 30
  }

  /** Plays a story on a new storage. */
  async play(story: ThreadStory, kills: Kills, act: (run: ThreadRun) => Promise<void> = (run) => run.play()): Promise<ThreadRun> {
    const host = await this.#makeHost()
    const world = new ThreadWorld(story.name, this.promises)
    const run = new ThreadRun(world, host, story, this.#options, kills)
    try {
      await act(run)
    } finally {
      await host.remove?.()
      this.faults.push(...world.faults)
    }
    return run
  }

  /** Kills the processes of a story at each place, or at as many as are wanted, spread evenly. */
  async killEverywhere(story: ThreadStory, every: number, killsAt: (process: number, place: number) => Kills): Promise<void> {
    const { mostPlaces = Number.POSITIVE_INFINITY } = this.#options
    const { places } = await this.play(story, new Map())
    const all = places.flatMap((passed, process) => passed.map((_, place) => [process + 1, place] as const))
    const step = Math.max(every, all.length / mostPlaces)
    for (let index = 0; index < all.length; index += step) {
      const [process, place] = all[Math.floor(index)] as (typeof all)[number]
      await this.play(story, killsAt(process, place))
    }
  }
}

const RIVAL_LAWS = ["rests", "delivered", "history", "keys", "once", "exclusive"] as const

/** All scenarios. */
export const THREAD_SCENARIOS: readonly ThreadScenario[] = [
  ...THREAD_STORIES.flatMap((story): ThreadScenario[] => {
    const { name, laws, needs = [] } = story
    return [
      { name, laws, needs, run: async (lab) => void (await lab.play(story, new Map())) },
      {
        name: `${name}, killed at every place`,
        laws,
        needs,
        run: (lab) => lab.killEverywhere(story, 1, (process, place) => new Map([[process, place]])),
      },
      {
        name: `${name}, killed twice`,
        laws,
        needs,
        run: (lab) =>
          lab.killEverywhere(
            story,
            4,
            (process, place) =>
              new Map([
                [process, place],
                [process + 1, (place * 7) % 23],
              ]),
          ),
      },
    ]
  }),
  {
    name: "two processes at once",
    laws: RIVAL_LAWS,
    needs: ["exclusive"],
    run: (lab) => rivals(lab, false),
  },
  {
    name: "taken over from a process that still runs",
    laws: RIVAL_LAWS,
    needs: ["exclusive"],
    run: (lab) => rivals(lab, true),
  },
  {
    name: "80 turns",
    laws: ["rests", "delivered", "order", "history", "status", "keys", "linear"],
    async run(lab) {
      const [short, long] = [await lab.play(turnsStory(20), new Map()), await lab.play(turnsStory(80), new Map())]
      if (lab.promises.linear === false) return
      const counts = (run: ThreadRun) => ({ writes: run.places.flat().length, characters: run.chars })
      const [few, many] = [counts(short), counts(long)]
      for (const what of ["writes", "characters"] as const)
        if (many[what] > MOST_GROWTH * few[what])
          lab.faults.push({
            law: "linear",
            place: "a thread of 80 turns",
            message: `It took ${many[what]} ${what}, and one of 20 turns ${few[what]}. Expected: about four times as many.`,
          })
    },
  },
]

/** The most that four times as many turns may cost: less than a square does, and enough for snapshots that are made now and then. */
const MOST_GROWTH = 11

function turnsStory(turns: number): ThreadStory {
  const stages = Array.from({ length: turns }, (_, turn): Stage => ({ acts: [{ do: "say", key: `a${turn}`, verb: "work" }] }))
  return { name: `a thread of ${turns} turns`, laws: [], stages }
}

/** A second process starts while the first one waits. It may be refused, wait, or take over. */
async function rivals(lab: ThreadLaboratory, takeOver: boolean): Promise<void> {
  const say: Act = { do: "say", key: "a", verb: "work" }
  const story: ThreadStory = { name: "two processes", laws: [], stages: [] }
  const { places } = await lab.play({ ...story, stages: [{ acts: [say] }] }, new Map())
  for (const [holdAt, place] of (places[0] ?? []).entries())
    if (/ (takes|took) effect$/.test(place))
      await lab.play(story, new Map(), async (run) => {
        run.world.place += `, while the first one waited ${place}`
        const first = run.newProcess({ holdAt })
        await first.start(run.host)
        await first.act(say)
        const firstRan = first.run()
        await Promise.race([first.held, firstRan])
        run.world.rival(first)
        const second = run.newProcess({ takeOver })
        const secondRan = second.start(run.host).then((started) => (started.type === "done" ? second.run() : started))
        await Promise.race([secondRan, later(lab.idleMs)])
        first.release()
        for (const [process, ran] of [
          [first, firstRan],
          [second, secondRan],
        ] as const) {
          const ended = await ran
          if (ended.type === "timed_out") run.world.fault("rests", `Process ${process.number} did not end in time.`)
          if (ended.type === "rejected") run.takesOver()
          else await process.close()
        }
        await run.end()
      })
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
