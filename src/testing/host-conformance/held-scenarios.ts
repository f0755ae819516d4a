import { wrapMembers } from "../../wrap.ts"
import type { Laboratory, Story } from "./laboratory.ts"
import { ALWAYS, type Scenario } from "./scenarios.ts"
import { configOf, type TurnScript } from "./scripted-turn.ts"
import { EXPIRES_AT, heldScript, lateScript } from "./scripts.ts"

const LAWS = [...ALWAYS, "consent", "decided", "suspended"] as const
const HELD = ["c0", "c2", "c3", "c4"] as const

/** Held calls about which people decide while no process runs the turn. A host without `decide` passes. */
export const HELD_SCENARIOS: readonly Scenario[] = [
  {
    name: "held calls, decided while no process runs the turn",
    laws: LAWS,
    needs: "held",
    async run(lab) {
      await play(lab, script(lab), async (story) => {
        const held = await story.toHeld(HELD)
        if (await story.decide(held, ["c4", "c0", "c3", "c2"], { expects: ["accepted"] })) await story.toEndTwice({})
      })
    },
  },
  {
    name: "held calls, killed while they are decided",
    laws: LAWS,
    needs: "held",
    async run(lab) {
      let places = 0
      await play(lab, script(lab), async (story) => {
        if (await story.decide(await story.toHeld(HELD), HELD, { expects: ["accepted"] })) places = story.places
      })
      for (let killAt = 0; killAt < places; killAt += Math.max(1, Math.floor(places / lab.mostPlaces)))
        await play(lab, script(lab), async (story) => {
          await story.decide(await story.toHeld(HELD), HELD, { expects: ["accepted"], killAt })
          await story.toEndTwice({ takeOver: story.wasKilled })
        })
    },
  },
  {
    name: "held calls, killed at every place after they were decided",
    laws: LAWS,
    needs: "held",
    async run(lab) {
      let places = 0
      await play(lab, script(lab), async (story) => {
        if (!(await story.decide(await story.toHeld(HELD), HELD, { expects: ["accepted"] }))) return
        places = (await story.toEnd({})).places.length
      })
      for (let killAt = 0; killAt < places; killAt += Math.max(1, Math.floor(places / lab.mostPlaces)))
        await play(lab, script(lab), async (story) => {
          await story.decide(await story.toHeld(HELD), HELD, { expects: ["accepted"] })
          const { process, ended } = await story.run({ killAt })
          if (ended.type !== "killed") story.judge(process, ended)
          await story.toEndTwice({ takeOver: ended.type === "killed" })
        })
    },
  },
  {
    name: "held calls, decided again and too late",
    laws: LAWS,
    needs: "held",
    async run(lab) {
      await play(lab, script(lab), async (story) => {
        const held = await story.toHeld(HELD)
        if (!(await story.decide(held, HELD, { expects: ["accepted"] }))) return
        await story.decide(held, HELD, { expects: ["stale"], counts: false })
        await story.decide(held, ["c0", "c2", "c4"], { expects: ["refused"], counts: false, decision: "reject" })
        await story.decide(held, ["c3"], { expects: ["refused"], counts: false, decision: "approve" })
        await story.toEndTwice({})
        await story.decide(held, HELD, { expects: ["stale", "refused"], counts: false })
        await story.decide(held, ["c3"], { expects: ["refused"], counts: false, decision: "approve" })
        await story.toEnd({})
      })
    },
  },
  {
    name: "held calls whose approvals expired",
    laws: LAWS,
    needs: "held",
    async run(lab) {
      await play(lab, lateScript(lab.promises.once !== false), async (story) => {
        const held = await story.toHeld(HELD)
        story.world.now = EXPIRES_AT + 1
        // It counts as expired.
        if (await story.decide(held, HELD, { expects: ["accepted"], decision: "approve" })) await story.toEndTwice({})
      })
    },
  },
  {
    name: "held calls of a turn that is cancelled",
    laws: [...ALWAYS, "consent", "decided", "suspended"],
    needs: "held",
    async run(lab) {
      if (lab.promises.cancel === false) return
      for (const decided of [[], ["c0"], ["c3", "c2"]] as const)
        await play(lab, script(lab), async (story) => {
          const held = await story.toHeld(HELD)
          if (!(await story.decide(held, decided, { expects: ["accepted"] }))) return
          // The signal is aborted at the first place: what was approved may run, or be cancelled.
          await story.toEnd({ cancelAt: 0, decides: [] }, true)
          await story.decide(held, ["c4"], { expects: ["refused"], counts: false })
          await story.toEnd({}, true)
        })
    },
  },
  {
    name: "held calls, with changed code before and after they are decided",
    laws: [...LAWS, "code"],
    needs: "held",
    async run(lab) {
      const config = configOf(script(lab))
      const changed = { ...config, driver: wrapMembers(config.driver, { version: config.driver.version + 1 }) }
      for (const decidesFirst of [false, true])
        await play(lab, script(lab), async (story) => {
          const held = await story.toHeld(HELD)
          const decide = (): Promise<boolean> => story.decide(held, HELD, { expects: ["accepted"] })
          if (decidesFirst && !(await decide())) return
          const { asked } = story.world
          const { ended } = await story.run({ config: changed, suspend: true, decides: [] })
          if (ended.type !== "rejected" || !(ended.error instanceof Error) || ended.error.message === "")
            story.world.fault("code", `The run with another version of the driver did not reject with an error, but: ${ended.type}`)
          if (story.world.asked > asked) story.world.fault("code", "Work was performed before the run rejected.")
          if (!decidesFirst) await decide()
          await story.toEndTwice({ takeOver: true })
        })
    },
  },
]

function script(lab: Laboratory): TurnScript {
  return heldScript(lab.promises.once !== false)
}

function play(lab: Laboratory, given: TurnScript, story: (story: Story) => Promise<void>): Promise<void> {
  return lab.story("a batch with held calls", given, story)
}
