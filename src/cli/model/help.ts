export const DEFAULT_TIMEOUT_MS = 120_000
export const DEFAULT_RETRIES = 2

/** The flags of the model, apart from the embedded one. */
export const MODEL_HELP = `  --model PROVIDER/NAME
                        a model at its provider, such as anthropic/claude-opus-5. The providers are openai,
                        openai-responses, anthropic and gemini. Any other prefix is a part of the model's name. With
                        --base-url these are, too, as in OpenRouter's anthropic/claude-opus-5.
  --provider PROVIDER   the same, with --model NAME. With --base-url: the API that the endpoint has (default: openai,
                        which is Chat Completions; openai-responses is OpenAI's newer API)
  --base-url URL        another endpoint, such as http://localhost:11434/v1; needs --model.
                        The files in DIR that the model reads are sent there.
  --api-key-env NAME    the environment variable that holds the key. The key is never printed or saved. Default: none
                        with --base-url, else OPENAI_API_KEY, ANTHROPIC_API_KEY, or GEMINI_API_KEY or GOOGLE_API_KEY
  --price I,O[,C[,W]]   what a million tokens cost in US dollars: prompt tokens, generated ones, and prompt tokens read
                        from the cache and written to it, such as 1.25,10,0.125 (C and W default to I). Default: as the
                        provider publishes it, for the models that the program knows; otherwise no cost is shown.
  --timeout-ms N        time limit of one model call, in milliseconds (default: ${DEFAULT_TIMEOUT_MS})
  --retries N           how often to retry a failed model call (default: ${DEFAULT_RETRIES})`
