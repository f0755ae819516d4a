import type { Verdict } from "../../wire/approval.ts"
import type { Goal, GoalCommand, GoalRefusal } from "../../wire/goal.ts"
import type { InputTime } from "../../wire/thread.ts"
import { shown } from "../difference.ts"
import type { TestedDecision } from "../host-conformance/tested-host.ts"
import { inputText, type Verb } from "./scripted-thread.ts"
import type { TestedStatus, TestedThreadHost, ThreadInstance, ThreadPromises } from "./tested-thread.ts"
import type { ThreadWorld } from "./thread-world.ts"

/** One thing that a person or a client does with a thread. */
export type Act =
  | { readonly do: "say"; readonly key: string; readonly verb: Verb; readonly when?: InputTime }
  /** The same key with another text. */
  | { readonly do: "say_other"; readonly key: string }
  | { readonly do: "retract"; readonly key: string }
  /** `again`: also in the process after one that was killed. */
  | { readonly do: "interrupt"; readonly again?: true }
  | { readonly do: "redirect"; readonly key: string; readonly verb: Verb }
  | { readonly do: "command"; readonly key: string; readonly command: GoalCommand | ((now: number) => GoalCommand); readonly refused?: GoalRefusal }
  /** `counts`: whether it is the decision that counts. `expects`: the results that it may have. `changed`: it is about other arguments. */
  | {
      readonly do: "decide"
      readonly callId: string
      readonly decision: "approve" | "reject"
      readonly counts: boolean
      readonly changed?: true
      readonly expects: readonly TestedDecision["status"][]
    }
  | { readonly do: "advance"; readonly ms: number }
  /** The goal must be so. */
  | { readonly do: "see_goal"; readonly goal: Partial<Goal> | null }

/** Whether an act cuts off what the running turn does. */
export function cutsOff(act: Act): boolean {
  return act.do === "interrupt" || act.do === "redirect"
}

/** Who uses a thread, in every process: what was said and decided so far, and what had no answer because the process was killed. */
export class ThreadClient {
  readonly #world: ThreadWorld
  readonly #promises: ThreadPromises
  /** The held calls that were shown, and their turns: a decision is about what a person saw. */
  readonly #seen = new Map<string, { readonly requestId: string; readonly digest: string; readonly turnId: string | undefined }>()
  /** The acts that have been started and not answered. */
  readonly #begun = new Set<Act>()

  constructor(world: ThreadWorld, promises: ThreadPromises) {
    this.#world = world
    this.#promises = promises
  }

  /** Does one act. `inWork`: an executor waits for it. Does nothing if the host does not promise it. */
  async perform(act: Act, instance: ThreadInstance, inWork: boolean): Promise<void> {
    const isRepeated = this.#begun.has(act)
    this.#begun.add(act)
    await this.#perform(act, instance, inWork && !isRepeated, isRepeated)
  }

  async #perform(act: Act, instance: ThreadInstance, inWork: boolean, isRepeated: boolean): Promise<void> {
    const world = this.#world
    const { steer = true, redirect = true } = this.#promises
    switch (act.do) {
      case "say":
        return this.#say(act.key, inputText(act.key, act.verb), act.when ?? "now", instance, inWork)
      case "say_other": {
        const refused = await instance.say(`${act.key}: something else`, { key: act.key, when: "now" }).then(
          () => false,
          () => true,
        )
        if (!refused) world.fault("again", `Another text was accepted with the key of input ${act.key}. Expected: it is refused.`)
        return
      }
      case "redirect": {
        const text = inputText(act.key, act.verb)
        if (!steer || !redirect) return this.#say(act.key, text, "now", instance, inWork)
        world.saying(act.key, text, "now", true)
        world.accepted(act.key, await needed(instance.redirect, "redirect").call(instance, text, { key: act.key }), inWork)
        return
      }
      case "retract": {
        const id = world.idOf(act.key)
        if (id === undefined || this.#promises.retract === false) return
        const result = await needed(instance.retract, "retract").call(instance, id)
        if (result === "retracted") world.withdrawn(id, "A retraction")
        else if (result !== "delivered") world.fault("delivered", `The retraction of input ${act.key} returned ${shown(result)}.`)
        return
      }
      case "interrupt": {
        if (this.#promises.interrupt === false) return
        if (isRepeated) world.interrupted(true)
        // The person sees that the process died, and does not stop what another one continues.
        if (isRepeated && act.again === undefined) return
        const returned = await needed(instance.interrupt, "interrupt").call(instance)
        world.interrupted(false)
        for (const id of returned) world.withdrawn(id, "An interrupt")
        return
      }
      case "command":
        return this.#command(act, instance)
      case "decide":
        return this.#decide(act, instance, isRepeated)
      case "advance":
        if (!isRepeated) world.now += act.ms
        return
      case "see_goal": {
        const { goal } = await instance.status()
        for (const [field, expected] of Object.entries(act.goal ?? {}))
          if (goal?.[field as keyof Goal] !== expected)
            world.fault(
              field === "tokensUsed" || expected === "complete" ? "continues" : "commands",
              `The goal has ${field} ${shown(goal?.[field as keyof Goal])}. Expected: ${shown(expected)}.`,
            )
        if (act.goal === null && goal !== null) world.fault("commands", `The goal is ${shown(goal)}. Expected: there is none.`)
      }
    }
  }

  /** People see which calls wait. */
  sees({ held, openTurn: turnId }: TestedStatus): void {
    for (const { callId, requestId, digest } of held) if (!this.#seen.has(callId)) this.#seen.set(callId, { requestId, digest, turnId })
  }

  async #say(key: string, text: string, wanted: InputTime, instance: ThreadInstance, inWork: boolean): Promise<void> {
    const { steer = true, when = true } = this.#promises
    const time = steer && when ? wanted : "now"
    this.#world.saying(key, text, time, false)
    this.#world.accepted(key, await instance.say(text, { key, when: time }), inWork)
  }

  async #command({ key, command, refused }: Act & { readonly do: "command" }, instance: ThreadInstance): Promise<void> {
    const given = typeof command === "function" ? command(this.#world.now) : command
    if (given.type === "wait" && given.until !== undefined) this.#world.notBefore = given.until
    if (given.type === "resume") this.#world.notBefore = 0
    const outputs = await needed(instance.command, "command").call(instance, given, { key })
    const refusal = outputs.find((output) => output.type === "refused")
    if (refusal?.code !== refused)
      this.#world.fault(
        "commands",
        `The command ${shown(given)} was ${refusal === undefined ? "accepted" : `refused as ${refusal.code}`}. Expected: ${refused ?? "accepted"}.`,
      )
  }

  async #decide(
    { callId, decision, counts, changed, expects }: Act & { readonly do: "decide" },
    instance: ThreadInstance,
    isRepeated: boolean,
  ): Promise<void> {
    this.sees(await instance.status())
    const known = this.#seen.get(callId)
    if (known === undefined) return this.#world.fault("decided", `Call ${callId} never waited for a decision.`)
    if (counts) this.#world.decides(callId, decision)
    const verdict: Verdict = { decision }
    const { turnId, requestId } = known
    const request = { requestId, digest: changed ? `${known.digest}0` : known.digest }
    const [result] = await needed(instance.decide, "decide").call(instance, [{ ...request, ...verdict }], turnId)
    // A process that was killed may have stored it.
    if (result === undefined || !(expects.includes(result.status) || (isRepeated && result.status !== "refused")))
      this.#world.fault(
        "decided",
        `The decision to ${decision} call ${callId}${changed ? " with another digest" : ""} was ${result?.status ?? "not answered"}. Expected: ${expects.join(" or ")}.`,
      )
  }
}

function needed<Method>(method: Method | undefined, name: string): Method {
  if (method === undefined) throw new Error(`The instance has no ${name}, which the promises of the host need.`)
  return method
}

export type MakeThreadHost = () => TestedThreadHost | Promise<TestedThreadHost>
