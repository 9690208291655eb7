import { SpillwayError } from "../../core/errors.ts"
import type { Clock } from "../../core/clock.ts"
import { registerSecret } from "../../core/secrets.ts"
import { secretValue, settingValue, shownSetting, type Setting } from "../../core/environment.ts"
import type { JsonValue } from "../../core/json.ts"

/** What requests carry so that the API knows who asks. */
export interface Credentials {
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
}

/** What fetches tokens: a request to another address of the same kind, with time-outs and retries. */
export interface TokenFetch {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Posts a form; gives the JSON of the answer. */
  post(url: string, form: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>>): Promise<unknown>
}

/** How a source proves who asks. Held by the source, over all its partitions and requests. */
export interface RestAuth {
  /** Says how, without any value. */
  readonly description: JsonValue
  /** The settings it takes; all of them have to be there before a run begins. */
  readonly settings: readonly Setting[]
  /** The parameter of the address that carries a secret, where there is one. */
  readonly parameter?: string | undefined
  credentials(fetch: TokenFetch): Promise<Credentials>
  /** The API refused these credentials (401): makes the next ones anew. Undefined where there are no others to be had. */
  readonly renew?: (refused: Credentials) => void
}

/** `Authorization: Bearer …`. */
export const bearer = (token: Setting): RestAuth => ({
  description: { auth: "bearer", ...shownSettings({ token }) },
  settings: [token],
  credentials: () => Promise.resolve({ headers: { authorization: `Bearer ${secretValue(token)}` } }),
})

/** `Authorization: Basic …` with user and password. */
export const basic = (user: Setting, password: Setting): RestAuth => ({
  description: { auth: "basic", ...shownSettings({ user, password }) },
  settings: [user, password],
  credentials: () =>
    Promise.resolve({ headers: { authorization: basicHeader(settingValue(user), secretValue(password)) } }),
})

/** A key in a header or in a parameter of the address. Throws `CONFIG` unless one of the two is named. */
export function apiKey(options: { header?: string; query?: string; value: Setting }): RestAuth {
  const { header, query, value } = options
  if ((header === undefined) === (query === undefined))
    throw new SpillwayError("CONFIG", "apiKey() needs a header or a query parameter, one of the two", {
      hint: 'write apiKey({ header: "X-API-Key", value: env("API_KEY") })',
    })
  return {
    description: {
      auth: "key",
      ...(header === undefined ? { query: query ?? "" } : { header }),
      ...shownSettings({ value }),
    },
    settings: [value],
    parameter: query,
    credentials: () => {
      const secret = secretValue(value)
      return Promise.resolve(
        header === undefined ? { query: { [query ?? ""]: secret } } : { headers: { [header]: secret } },
      )
    },
  }
}

export interface OAuth2Options {
  tokenUrl: Setting
  clientId: Setting
  clientSecret: Setting
  scope?: string
  audience?: string
  /** Where id and secret go: `basic`, the header (default), or `body`, the form. */
  clientAuth?: "basic" | "body"
}

/** A token is asked for anew so long before it runs out. */
const LEEWAY_MS = 30_000

interface Token {
  readonly credentials: Credentials
  readonly expiresAt: number
}

/**
 * OAuth 2 client credentials: a token from `tokenUrl`, kept until shortly before it runs out or the API refuses it. However many requests want it,
 * it is asked for once.
 */
export function oauth2(options: OAuth2Options): RestAuth {
  const { tokenUrl, clientId, clientSecret, scope, audience, clientAuth = "basic" } = options
  let token: Promise<Token> | undefined
  let current: Token | undefined

  const ask = async (fetch: TokenFetch): Promise<Token> => {
    const id = settingValue(clientId)
    const secret = secretValue(clientSecret)
    const asked = fetch.clock.monotonic()
    const form = {
      grant_type: "client_credentials",
      ...(scope === undefined ? {} : { scope }),
      ...(audience === undefined ? {} : { audience }),
      ...(clientAuth === "body" ? { client_id: id, client_secret: secret } : {}),
    }
    const headers: Record<string, string> =
      clientAuth === "basic" ? { authorization: basicHeader(encodeURIComponent(id), encodeURIComponent(secret)) } : {}
    const url = settingValue(tokenUrl)
    const { value, seconds } = tokenOf(await fetch.post(url, form, headers), shownSetting(tokenUrl))
    registerSecret(value)
    const lifetime = seconds * 1_000
    return {
      credentials: { headers: { authorization: `Bearer ${value}` } },
      expiresAt: asked + Math.max(lifetime - LEEWAY_MS, lifetime / 2),
    }
  }

  return {
    description: {
      auth: "oauth2",
      ...shownSettings({ tokenUrl, clientId, clientSecret }),
      scope: scope ?? null,
      audience: audience ?? null,
    },
    settings: [tokenUrl, clientId, clientSecret],
    async credentials(fetch) {
      if (current !== undefined && fetch.clock.monotonic() >= current.expiresAt) {
        current = undefined
        token = undefined
      }
      token ??= ask(fetch)
      const asked = token
      try {
        current = await asked
        return current.credentials
      } catch (error) {
        if (token === asked) token = undefined
        throw error
      }
    },
    renew(refused) {
      // Of many requests that were refused with the same token, the first has it made anew.
      if (current?.credentials === refused) {
        current = undefined
        token = undefined
      }
    },
  }
}

function tokenOf(answer: unknown, where: string): { value: string; seconds: number } {
  const { access_token: value, expires_in: seconds } = (answer ?? {}) as Record<string, unknown>
  if (typeof value !== "string" || value === "")
    throw new SpillwayError("AUTH", "the answer to the token request has no access_token", {
      where,
      hint: "check tokenUrl, and that it gives tokens for client credentials",
    })
  const lifetime = Number(seconds)
  return { value, seconds: Number.isFinite(lifetime) && lifetime > 0 ? lifetime : Infinity }
}

const basicHeader = (user: string, password: string): string => {
  const encoded = Buffer.from(`${user}:${password}`).toString("base64")
  registerSecret(encoded)
  return `Basic ${encoded}`
}

/** Where settings come from; a value that was written down is not shown. */
const shownSettings = (settings: Readonly<Record<string, Setting>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(settings).map(([name, setting]) => [
      name,
      typeof setting === "string" ? "given" : shownSetting(setting),
    ]),
  )
