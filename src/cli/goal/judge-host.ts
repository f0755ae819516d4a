import { type Host, LlmCallError } from "../../hosts/host.ts"
import type { ModelChoice } from "../model/model-settings.ts"
import { modelHost } from "../run/run.ts"

/**
 * The host of a judge's model. A judge asks with temperature 0, and some models accept no temperature: then the call is made again without
 * one, and so are all later calls of this process.
 */
export function judgeHost(model: ModelChoice): Pick<Host, "llmCall"> {
  const host = modelHost(model)
  let accepts = true
  return {
    async llmCall(effect, context) {
      if (accepts) {
        try {
          return await host.llmCall(effect, context)
        } catch (error) {
          if (context.signal.aborted || effect.request.generation.temperature === undefined || !refusesTemperature(error)) throw error
          accepts = false
        }
      }
      const { temperature: _refused, ...generation } = effect.request.generation
      return host.llmCall({ ...effect, request: { ...effect.request, generation } }, context)
    },
  }
}

function refusesTemperature(error: unknown): boolean {
  if (!(error instanceof LlmCallError)) return false
  const { retryable, message } = error.failure
  return retryable !== true && /\btemperature\b/i.test(message)
}
