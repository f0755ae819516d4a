import type { JournalEncryption } from "../../src/hosts/journal/encrypted-store.ts"

/** AES-GCM of WebCrypto that binds each line to its place. */
export async function aesGcm(secret: string): Promise<JournalEncryption> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret))
  const key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"])
  const parameters = (iv: Uint8Array<ArrayBuffer>, name: string, line: number): AesGcmParams => ({
    name: "AES-GCM",
    iv,
    additionalData: new TextEncoder().encode(JSON.stringify([name, line])),
  })
  return {
    async encrypt(text, { name, line }) {
      const iv = crypto.getRandomValues(new Uint8Array(12))
      const sealed = await crypto.subtle.encrypt(parameters(iv, name, line), key, new TextEncoder().encode(text))
      return Buffer.concat([iv, new Uint8Array(sealed)]).toString("base64")
    },
    async decrypt(text, { name, line }) {
      const sealed = new Uint8Array(Buffer.from(text, "base64"))
      const opened = await crypto.subtle.decrypt(parameters(sealed.slice(0, 12), name, line), key, sealed.slice(12))
      // A byte order mark is part of the text.
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(opened)
    },
  }
}
