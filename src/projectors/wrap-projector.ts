import { withChanges } from "../lazy.ts"
import type { LlmRequest } from "../wire/llm.ts"
import type { ProjectionInput, Projector } from "./projector.ts"

/** What {@link wrapProjector} changes. Both functions must be pure. */
export interface ProjectorPatch {
  /** The input that the inner projector gets. Default: unchanged. */
  readonly input?: (input: ProjectionInput) => ProjectionInput
  /** The members of the request to replace. Default: none. */
  readonly request?: (request: LlmRequest, input: ProjectionInput) => Partial<LlmRequest>
}

/**
 * Wraps a projector: changes its input, its request, or both; properties of the inner function pass through. A request whose
 * `messages` are not replaced costs no more than the inner projector's, at any length.
 *
 *     const brief = wrapProjector(chatProjector, { request: ({ generation }) => ({ generation: { ...generation, maxOutputTokens: 200 } }) })
 */
export function wrapProjector(inner: Projector, { input: changeInput, request: changeRequest }: ProjectorPatch): Projector {
  const wrapped: Projector = (given) => {
    const input = changeInput?.(given) ?? given
    const request = inner(input)
    return changeRequest === undefined ? request : withChanges(request, changeRequest(request, input))
  }
  const { length: _length, name: _name, prototype: _prototype, ...members } = Object.getOwnPropertyDescriptors(inner) as PropertyDescriptorMap
  return Object.defineProperties(wrapped, members)
}
