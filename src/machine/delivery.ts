import type { CheckpointDelivery, DeliveredMessage, HistoryRecord, Message, Part, TurnCause } from "../wire/message.ts"
import type { MachineAction } from "./apply-actions.ts"
import type { TurnContext } from "./context.ts"
import type { History } from "./history.ts"

/**
 * Whether a delivery has nothing for the model: no message, and no turn cause that is new. A message that will be dropped counts. A turn
 * cause that is known does not: a host that delivers it again would never let the turn end.
 */
export function isSilent(context: TurnContext, { userMessages, messages, transientMessages, turnCauses = [] }: CheckpointDelivery): boolean {
  if (userMessages?.length || messages?.length || transientMessages?.length) return false
  const known = knownIds(context.causes)
  return turnCauses.every(({ id }) => known.has(id))
}

const idsOf = new WeakMap<readonly TurnCause[], { readonly ids: Map<string, number>; read: number }>()

/** The ids of the causes. Reads only those that are new since the last time. */
function knownIds({ storage, length }: History<TurnCause>): { has(id: string): boolean } {
  let known = idsOf.get(storage)
  if (known === undefined) {
    known = { ids: new Map(), read: 0 }
    idsOf.set(storage, known)
  }
  const { ids } = known
  for (; known.read < length; known.read += 1) {
    const { id } = storage[known.read] as TurnCause
    if (!ids.has(id)) ids.set(id, known.read)
  }
  // The storage may have causes of a later turn.
  return { has: (id) => (ids.get(id) ?? length) < length }
}

/**
 * Returns the actions of a delivery, in order: user messages and events for the driver, which are recorded in the history; then
 * injected messages and turn causes, which are in the transcript only.
 */
export function deliveryActions(context: TurnContext, delivery: CheckpointDelivery): readonly MachineAction[] {
  const records: HistoryRecord[] = []
  for (const message of delivery.userMessages ?? []) records.push({ type: "conversation", message })
  for (const event of delivery.events ?? []) records.push({ type: "protocol", event })

  const messages: Message[] = []
  for (const delivered of delivery.messages ?? []) deliverMessage(messages, context, delivered, false)
  for (const delivered of delivery.transientMessages ?? []) deliverMessage(messages, context, delivered, true)

  const known = knownIds(context.causes)
  const added = new Set<string>()
  const turnCauses: TurnCause[] = []
  for (const cause of delivery.turnCauses ?? []) {
    if (known.has(cause.id) || added.has(cause.id)) continue
    added.add(cause.id)
    turnCauses.push(cause)
    messages.push({ id: cause.id, role: "event", parts: [{ id: `${cause.id}.p0`, type: "text", text: cause.text }], origin: cause.origin })
  }

  return [
    { type: "append_events", events: records },
    { type: "append_messages", messages },
    { type: "add_turn_causes", turnCauses },
  ]
}

/** Only user and system messages are injected: a host does not speak for the model, and events are delivered as turn causes. */
function deliverMessage(messages: Message[], context: TurnContext, delivered: DeliveredMessage, transient: boolean): void {
  if (delivered.role !== "user" && delivered.role !== "system") return
  const id = context.newMessageId("checkpoint")
  const given = delivered.parts ?? []
  const parts: readonly Part[] = given.length === 0 ? [{ id: "", type: "text", text: delivered.content }] : given
  messages.push({
    id,
    role: delivered.role,
    parts: parts.map((part, index) => ({ ...part, id: `${id}.p${index}` })),
    origin: delivered.origin ?? { type: "plugin", pluginId: "plugin", ...(transient && { transient: true as const }) },
  })
}
