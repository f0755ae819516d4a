import type { TurnConfig } from "../../machine/config.ts"
import { wrapMembers } from "../../wrap.ts"
import type { ConformanceLaw } from "./conformance-laws.ts"
import { type Laboratory, textOf } from "./laboratory.ts"
import { configOf, outsideResults } from "./scripted-turn.ts"
import { heldScript, longScript, outsideScript, RICH, WIDE } from "./scripts.ts"
import type { HostPromises } from "./tested-host.ts"
import { isSuspended, type RunEnd, type WorldProcess } from "./world-process.ts"

/** A way to disturb turns. All its runs are made once, and each of its laws is a check. */
export interface Scenario {
  readonly name: string
  readonly laws: readonly ConformanceLaw[]
  /** The promise without which the scenario is left out. */
  readonly needs?: keyof HostPromises
  run(lab: Laboratory): Promise<void>
}

/** The laws of every scenario. */
export const ALWAYS = ["ends", "remembers", "answers", "once", "truth", "keys", "pairs", "records", "silence"] as const

/** The orders in which people decide about the held calls of a script. */
const ORDERS = [
  ["c0", "c2", "c3", "c4"],
  ["c4", "c3", "c2", "c0"],
  ["c3", "c0", "c4", "c2"],
] as const

/** All scenarios. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: "undisturbed",
    laws: ALWAYS,
    async run(lab) {
      for (const [name, script] of lab.scripts)
        await lab.story(name, script, async (story) => {
          await story.toEndTwice({})
          await idle(await story.toEnd({}), lab.idleMs)
        })
    },
  },
  {
    name: "killed at every place",
    laws: ALWAYS,
    async run(lab) {
      for (const [name, script] of lab.scripts)
        await lab.everyPlace(script, name, anyPlace, (killAt) =>
          lab.story(name, script, async (story) => {
            const { process, ended } = await story.run({ killAt })
            if (ended.type !== "killed") story.judge(process, ended)
            await story.toEndTwice({ takeOver: ended.type === "killed" })
          }),
        )
    },
  },
  {
    name: "killed twice",
    laws: ALWAYS,
    async run(lab) {
      for (const [name, script] of lab.scripts)
        await lab.everyPlace(script, name, everyFourth, (killAt) =>
          lab.story(name, script, async (story) => {
            await story.run({ killAt })
            const { ended } = await story.run({ takeOver: true, killAt: (killAt * 7) % 23 })
            await story.toEndTwice({ takeOver: ended.type === "killed" })
          }),
        )
    },
  },
  {
    name: "killed while a call runs",
    laws: [...ALWAYS, "calls"],
    needs: "calls",
    async run(lab) {
      await lab.story("a batch of three calls", WIDE, async (story) => {
        const { process, ended } = story.start({ holdCall: "c1" })
        await Promise.race([process.held, ended])
        await idle(process, lab.idleMs)
        for (const name of process.returned) story.world.finished(name)
        process.kill("while call c1 still runs")
        story.judge(process, await ended)
        await story.toEndTwice({ takeOver: true })
      })
    },
  },
  {
    name: "held calls, one decided in each process",
    laws: [...ALWAYS, "consent", "suspended"],
    needs: "held",
    async run(lab) {
      for (const order of ORDERS)
        await lab.story(`calls decided in the order ${order.join(", ")}`, heldScript(lab.promises.once !== false), async (story) => {
          await story.toSuspension({ decides: [] }, order)
          for (const [index, callId] of order.entries())
            if (index < order.length - 1) await story.toSuspension({ decides: [callId] }, order.slice(index + 1))
          await story.toEndTwice({})
        })
    },
  },
  {
    name: "held calls, killed at every place",
    laws: [...ALWAYS, "consent"],
    needs: "held",
    async run(lab) {
      const script = heldScript(lab.promises.once !== false)
      for (const order of ORDERS)
        await lab.everyPlace(script, "held calls", anyPlace, (killAt) =>
          lab.story(`calls decided in the order ${order.join(", ")}`, script, async (story) => {
            const { process, ended } = await story.run({ killAt, decides: order })
            if (ended.type !== "killed") story.judge(process, ended)
            await story.toEndTwice({ takeOver: ended.type === "killed", decides: order })
          }),
        )
    },
  },
  {
    name: "calls that continue outside",
    laws: [...ALWAYS, "suspended"],
    needs: "held",
    async run(lab) {
      const script = outsideScript(lab.promises.once !== false)
      let places = 0
      let answers = true
      await lab.story("a batch with calls that continue outside", script, async (story) => {
        answers = await story.toSuspension({}, ["c0", "c2"])
        places = story.places
        if (answers) await story.toEndTwice({})
      })
      for (let killAt = 0; answers && killAt < places; killAt += Math.max(1, Math.floor(places / lab.mostPlaces)))
        await lab.story("a batch with calls that continue outside", script, async (story) => {
          const { ended } = await story.run({ killAt, suspend: true })
          const again = await story.run({ takeOver: ended.type === "killed", suspend: true })
          if (again.ended.type === "suspended") await again.process.answer(outsideResults(script, again.ended.suspension.pending))
          else story.judge(again.process, again.ended)
          await story.toEndTwice({})
        })
    },
  },
  {
    name: "cancelled at every place",
    laws: ALWAYS,
    needs: "cancel",
    async run(lab) {
      for (const [name, script] of lab.scripts)
        await lab.everyPlace(script, name, anyPlace, (cancelAt, place) =>
          lab.story(`${name}, cancelled at place ${cancelAt}, ${place}`, script, (story) => story.toEndTwice({ cancelAt }, true)),
        )
    },
  },
  {
    name: "cancelled, then killed",
    laws: ALWAYS,
    needs: "cancel",
    async run(lab) {
      for (const [name, script] of lab.scripts.slice(0, 2)) {
        const places = await lab.placesOf(name, script)
        for (let cancelAt = 3; cancelAt < places.length; cancelAt += Math.ceil(places.length / Math.min(6, lab.mostPlaces))) {
          await lab.everyPlace(
            script,
            name,
            (_place, at) => at < 8,
            (more) =>
              lab.story(`${name}, cancelled at place ${cancelAt}, ${places[cancelAt]}`, script, async (story) => {
                const { process, ended } = await story.run({ cancelAt, killAt: cancelAt + 1 + more })
                if (ended.type !== "killed") story.judge(process, ended, true)
                await story.toEndTwice({ takeOver: ended.type === "killed" }, true)
              }),
          )
        }
      }
    },
  },
  {
    name: "cancelled while a call does not return",
    laws: ["ends", "remembers", "truth", "pairs", "records"],
    needs: "cancel",
    async run(lab) {
      for (const [name, script] of lab.scripts.slice(0, 1))
        for (const holdCall of script.batches[0]?.map((_, call) => `c${call}`) ?? [])
          await lab.story(`${name}, cancelled while call ${holdCall} does not return`, script, async (story) => {
            const { process, ended } = story.start({ holdCall })
            await Promise.race([process.held, ended])
            await idle(process, lab.idleMs)
            process.cancel()
            story.judge(process, await ended, true)
            await story.toEnd({}, true)
          })
    },
  },
  {
    name: "suspended by a fatal error",
    laws: [...ALWAYS, "fatal"],
    needs: "fatal",
    async run(lab) {
      for (const [name, script] of lab.scripts)
        await lab.everyPlace(
          script,
          name,
          (place) => EXECUTOR.test(place),
          (suspendAt) =>
            lab.story(name, script, async (story) => {
              const { ended } = await story.run({ suspendAt })
              if (ended.type === "ended") story.world.fault("fatal", "An executor threw an error for which isFatal returns true, and the run ended.")
              else if (ended.type !== "rejected" || !isSuspended(ended.error))
                story.world.fault("fatal", `The run did not reject with the fatal error, but: ${"error" in ended ? textOf(ended.error) : ended.type}`)
              await story.toEndTwice({})
            }),
        )
    },
  },
  {
    name: "two instances at once",
    laws: [...ALWAYS, "exclusive"],
    needs: "exclusive",
    run: (lab) => rivals(lab, false),
  },
  {
    name: "taken over from an instance that still runs",
    laws: [...ALWAYS, "exclusive"],
    needs: "exclusive",
    run: (lab) => rivals(lab, true),
  },
  {
    name: "answers arrive twice",
    laws: ALWAYS,
    needs: "deliveries",
    async run(lab) {
      for (const [name, script] of lab.scripts) {
        const twice = `${name}, each answer twice`
        await lab.story(twice, script, (story) => story.toEndTwice({ deliveries: 2 }))
        await lab.everyPlace(script, name, everyFourth, (killAt) =>
          lab.story(twice, script, async (story) => {
            const { ended } = await story.run({ killAt, deliveries: 2 })
            await story.toEndTwice({ takeOver: ended.type === "killed", deliveries: 2 })
          }),
        )
      }
    },
  },
  {
    name: "code changed between processes",
    laws: [...ALWAYS, "code"],
    async run(lab) {
      const [[name, script] = ["a chat turn", RICH] as const] = lab.scripts
      const places = await lab.placesOf(name, script)
      const [killAt = 0] = places.flatMap((place, number) => (/model.* takes effect/.test(place) && number > places.length / 3 ? [number] : []))
      const config = configOf(script)
      const changes: readonly (readonly [string, TurnConfig, boolean])[] = [
        ["another version of the driver", { ...config, driver: wrapMembers(config.driver, { version: config.driver.version + 1 }) }, true],
        ["another driver", { ...config, driver: wrapMembers(config.driver, { name: "other" }) }, true],
        ["another system prompt", { ...config, systemPrompt: "Do something else." }, false],
        ["another model", { ...config, model: "other" }, false],
      ]
      for (const [what, changed, mustRefuse] of changes)
        await lab.story(`${name}, resumed with ${what}`, script, async (story) => {
          await story.run({ killAt })
          const { asked } = story.world
          const { process, ended } = await story.run({ takeOver: true, config: changed })
          if (ended.type === "ended" && !mustRefuse) {
            story.judge(process, ended)
            return
          }
          if (ended.type !== "rejected" || !(ended.error instanceof Error) || ended.error.message === "")
            story.world.fault("code", `The run did not reject with an error, but: ${ended.type}`)
          if (story.world.asked > asked) story.world.fault("code", "Work was performed before the run rejected.")
          await story.toEndTwice({ takeOver: true })
        })
    },
  },
  {
    name: "1,000 effects",
    laws: [...ALWAYS, "linear"],
    async run(lab) {
      const counts: { readonly places: number; readonly chars: number }[] = []
      for (const effects of [250, 1_000]) {
        const script = longScript(effects)
        await lab.story(`a turn of ${effects} effects`, script, async (story) => {
          const { places, chars } = await story.toEnd({})
          counts.push({ places: places.length, chars })
        })
      }
      const [short, long] = counts
      if (lab.promises.linear !== false && short !== undefined && long !== undefined)
        for (const what of ["places", "chars"] as const)
          if (long[what] > MOST_GROWTH * short[what])
            lab.faults.push({
              law: "linear",
              place: "a turn of 1,000 effects",
              message: `It took ${long[what]} ${what === "places" ? "writes and calls" : "characters"}, and one of 250 effects ${short[what]}. Expected: about four times as many.`,
            })
      await lab.story("a turn of 1,000 effects", longScript(1_000), async (story) => {
        const { ended } = await story.run({ killAt: Math.floor((long?.places ?? 0) / 2) })
        await story.toEndTwice({ takeOver: ended.type === "killed" })
      })
    },
  },
]

/** The most that four times as many effects may cost: less than a square does, and enough for snapshots that are made now and then. */
const MOST_GROWTH = 11

/** The places of executors, which may throw. */
const EXECUTOR = / (takes|took) effect$/

/** A second instance starts while the first one waits. It may be refused, wait, or take over. */
async function rivals(lab: Laboratory, takeOver: boolean): Promise<void> {
  for (const [name, script] of lab.scripts.slice(0, 2))
    await lab.everyPlace(
      script,
      name,
      (place) => / took effect$/.test(place),
      (holdAt, place) =>
        lab.story(`${name}, while the first instance waited at place ${holdAt}, ${place}`, script, async (story) => {
          const first = story.start({ holdAt })
          await Promise.race([first.process.held, first.ended])
          await idle(first.process, 1)
          story.world.interrupt()
          story.world.rival(first.process)
          const second = story.start({ takeOver })
          await Promise.race([second.ended, idle(second.process, lab.idleMs)])
          first.process.release()
          const ends = await Promise.all([first.ended, second.ended])
          for (const [index, { process }] of [first, second].entries()) {
            const ended = ends[index] as RunEnd
            if (ended.type !== "rejected") story.judge(process, ended)
          }
          await story.toEndTwice({ takeOver: ends.every(({ type }) => type === "rejected") })
        }),
    )
}

const anyPlace = (): boolean => true

const everyFourth = (_place: string, at: number): boolean => at % 4 === 1

/** Waits until a process has reached no new place for a while. */
async function idle(process: WorldProcess, ms: number): Promise<void> {
  for (let known = -1; known !== process.places.length; ) {
    known = process.places.length
    await new Promise((resolve) => {
      setTimeout(resolve, ms)
    })
  }
}
