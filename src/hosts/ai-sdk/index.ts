/** Models of the AI SDK as model clients of a host: every provider package of ai 6 and ai 7. */

export { type AiSdkModelOptions, aiSdkModel } from "./ai-sdk-model.ts"
export type { AiSdkLanguageModel, AiSdkProviderTool, ProviderOptions } from "./language-model.ts"
