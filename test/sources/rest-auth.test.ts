import { afterEach, describe, expect, it } from "vitest"
import { redact } from "../../src/core/secrets.ts"
import { env, pipeline, table } from "../../src/index.ts"
import {
  apiKey,
  basic,
  bearer,
  nextLink,
  oauth2,
  pageNumber,
  rest,
  type RestAuth,
  type RestOptions,
} from "../../src/sources/index.ts"
import { manualClock, systemPorts } from "../../src/testing/index.ts"
import { endServers } from "../resilience/servers.ts"
import { contextOf, numbered, readAll, sendJson, testApi, type TestApi } from "./rest-api.ts"

afterEach(endServers)

const quick = { retry: { attempts: 3, baseDelay: 1, maxDelay: 2 } } as const

interface Tokens {
  readonly api: TestApi
  /** Bodies and authorization headers of token requests. */
  readonly asked: { form: string; authorization: string | undefined }[]
  /** Tokens that the API accepts. */
  readonly valid: Set<string>
  readonly source: (auth: RestAuth, more?: Partial<RestOptions>) => ReturnType<typeof rest>
}

/** An API of ten pages behind tokens `token-1`, `token-2` …, each accepted for as many requests as `uses` says. */
async function tokens(uses: number, more: { expires_in?: number; status?: number } = {}): Promise<Tokens> {
  const asked: Tokens["asked"] = []
  const valid = new Set<string>()
  let left = uses
  const { status = 200, ...answer } = more
  const api = await testApi((request, response, url) => {
    if (url.pathname === "/token") {
      let form = ""
      request.on("data", (piece: Buffer) => (form += piece.toString()))
      request.on("end", () => {
        asked.push({ form, authorization: request.headers.authorization })
        if (status !== 200) return response.writeHead(status).end('{"error":"invalid_client"}')
        const token = `token-${asked.length}`
        valid.clear()
        valid.add(token)
        left = uses
        return sendJson(response, { access_token: token, token_type: "Bearer", ...answer })
      })
      return
    }
    const token = request.headers.authorization?.replace("Bearer ", "")
    if (token === undefined || !valid.has(token) || left-- <= 0) {
      response.writeHead(401).end()
      return
    }
    const page = Number(url.searchParams.get("page"))
    sendJson(response, { items: numbered(2, page * 2), pages: 10 })
  })
  const source: Tokens["source"] = (auth, options = {}) =>
    rest({ url: `${api.origin}/items`, auth, paginate: pageNumber({ pages: "pages" }), http: quick, ...options })
  return { api, asked, valid, source }
}

const oauthOf = ({ api }: Tokens, more = {}): RestAuth =>
  oauth2({ tokenUrl: `${api.origin}/token`, clientId: "me & you", clientSecret: "s3cret/+", scope: "read", ...more })

describe("credentials", () => {
  const sent = async (auth: RestAuth) => {
    let seen: { headers: Record<string, unknown>; url: string } | undefined
    const api = await testApi((request, response) => {
      seen = { headers: request.headers, url: request.url ?? "" }
      sendJson(response, numbered(1))
    })
    const source = rest({ url: `${api.origin}/x`, auth })
    const [reading] = await readAll(source, contextOf().context)
    const shown = JSON.stringify([source.description, reading?.partition, reading?.state])
    return { ...(seen as NonNullable<typeof seen>), shown }
  }

  it("are sent as they should be, and shown nowhere", async () => {
    process.env["REST_AUTH_TOKEN"] = "t0ken-from-env"
    const plain = await sent(bearer("t0ken-given"))
    expect(plain.headers["authorization"]).toBe("Bearer t0ken-given")
    const named = await sent(bearer(env("REST_AUTH_TOKEN")))
    expect(named.headers["authorization"]).toBe("Bearer t0ken-from-env")
    expect(named.shown).toContain("env(REST_AUTH_TOKEN)")
    const both = await sent(basic("user", "pässword"))
    expect(Buffer.from(String(both.headers["authorization"]).slice(6), "base64").toString()).toBe("user:pässword")
    const header = await sent(apiKey({ header: "X-Key", value: "k3y-in-header" }))
    expect(header.headers["x-key"]).toBe("k3y-in-header")
    const query = await sent(apiKey({ query: "appid", value: "k3y-in-query" }))
    expect(query.url).toBe("/x?appid=k3y-in-query")
    for (const { shown } of [plain, named, both, header, query]) expect(shown).not.toMatch(/t0ken-|pässword|k3y-in/)
    for (const secret of ["t0ken-given", "t0ken-from-env", "pässword", "k3y-in-header", "k3y-in-query"])
      expect(redact(`it says ${secret}`)).toBe("it says ***")
  })

  it("decide nothing of what a pipeline does: another value is the same definition", () => {
    const of = (value: string) =>
      rest({ url: "http://localhost/", auth: bearer(value), headers: { "x-key": value } }).description
    expect(of("one-token")).toEqual(of("another-token"))
  })

  it("in a parameter are taken out of links that the API makes of them", async () => {
    const api: TestApi = await testApi((_request, response, url) => {
      const page = Number(url.searchParams.get("page") ?? 1)
      const next = page < 3 ? `${api.origin}/x?page=${page + 1}&appid=${url.searchParams.get("appid")}` : null
      sendJson(response, { items: numbered(1, page), next })
    })
    const source = rest({
      url: `${api.origin}/x`,
      auth: apiKey({ query: "appid", value: "k3y-linked" }),
      paginate: nextLink({ from: "next" }),
    })
    const [reading] = await readAll(source, contextOf().context)
    expect(api.asked).toEqual(["/x?appid=k3y-linked", "/x?page=2&appid=k3y-linked", "/x?page=3&appid=k3y-linked"])
    expect(JSON.stringify(reading?.batches.map((batch) => [batch.position, batch.place(0)]))).not.toContain(
      "k3y-linked",
    )
  })

  it("that are refused end the reading at once", async () => {
    const made = await tokens(0)
    await expect(readAll(made.source(bearer("wrong-token")), contextOf().context)).rejects.toMatchObject({
      code: "AUTH",
    })
    expect(made.api.asked).toHaveLength(1)
  })

  it("that are missing are named before a run begins, in the pipeline's check too", async () => {
    const source = rest({
      url: "http://localhost/",
      auth: oauth2({ tokenUrl: "http://localhost/", clientId: env("REST_NO_ID"), clientSecret: env("REST_NO_SECRET") }),
    })
    const declared = pipeline({
      name: "p",
      source,
      schema: { type: "object", properties: { id: { type: "integer" } } },
      sink: table("t", { key: ["id"] }),
    })
    await expect(async () => declared.source.list(contextOf().context, new Map())).rejects.toMatchObject({
      code: "CONFIG",
      message: "these environment variables are not set: REST_NO_ID, REST_NO_SECRET",
    })
    expect(() => env("not a name")).toThrow(expect.objectContaining({ code: "CONFIG" }))
    expect(() => apiKey({ value: "x" })).toThrow(expect.objectContaining({ code: "CONFIG" }))
  })
})

describe("OAuth 2 client credentials", () => {
  it("are asked for once, in the header, with what was named", async () => {
    const made = await tokens(Infinity)
    const [reading] = await readAll(made.source(oauthOf(made)), contextOf().context)
    expect(reading?.records).toHaveLength(20)
    expect(made.asked).toHaveLength(1)
    const [{ form, authorization }] = made.asked as [Tokens["asked"][number]]
    expect(Object.fromEntries(new URLSearchParams(form))).toEqual({ grant_type: "client_credentials", scope: "read" })
    expect(Buffer.from(authorization?.slice(6) ?? "", "base64").toString()).toBe("me%20%26%20you:s3cret%2F%2B")
    expect(redact("token-1")).toBe("***")
  })

  it("may go in the form", async () => {
    const made = await tokens(Infinity)
    await readAll(made.source(oauthOf(made, { clientAuth: "body", audience: "api" })), contextOf().context)
    expect(Object.fromEntries(new URLSearchParams(made.asked[0]?.form))).toMatchObject({
      client_id: "me & you",
      client_secret: "s3cret/+",
      audience: "api",
    })
    expect(made.asked[0]?.authorization).toBeUndefined()
  })

  it("are renewed once when they are refused, however many requests are under way", async () => {
    const made = await tokens(6)
    const source = made.source(oauthOf(made), { concurrency: 5, prefetch: 5 })
    const [reading] = await readAll(source, contextOf().context)
    expect(reading?.records).toHaveLength(20)
    expect(made.asked.length).toBeGreaterThanOrEqual(2)
    expect(made.asked.length).toBeLessThanOrEqual(3)
  })

  it("end the reading when fresh ones are refused too", async () => {
    const made = await tokens(0)
    await expect(readAll(made.source(oauthOf(made)), contextOf().context)).rejects.toMatchObject({ code: "AUTH" })
    expect(made.asked).toHaveLength(2)
  })

  it("are renewed before they run out", async () => {
    const made = await tokens(Infinity, { expires_in: 60 })
    const clock = manualClock()
    const { context } = contextOf({
      ports: {
        ...systemPorts,
        clock: { ...systemPorts.clock, monotonic: () => clock.monotonic(), now: () => clock.now() },
      },
    })
    const source = made.source(oauthOf(made))
    await readAll(source, context)
    clock.advance(29_000)
    await readAll(source, context)
    expect(made.asked).toHaveLength(1)
    clock.advance(2_000)
    await readAll(source, context)
    expect(made.asked).toHaveLength(2)
  })

  it("that nobody gives are told as AUTH, with the reason", async () => {
    const made = await tokens(1, { status: 400 })
    await expect(readAll(made.source(oauthOf(made)), contextOf().context)).rejects.toMatchObject({
      code: "AUTH",
      message: expect.stringContaining("invalid_client") as string,
    })
  })
})

describe("a rate limit", () => {
  it("spaces all requests evenly, retries too", async () => {
    let failures = 1
    const api = await testApi((_request, response, url) => {
      if (failures-- > 0) response.writeHead(500).end()
      else sendJson(response, { items: numbered(1, Number(url.searchParams.get("page"))), pages: 4 })
    })
    const slept: number[] = []
    let elapsed = 0
    const clock = {
      ...systemPorts.clock,
      monotonic: () => elapsed,
      sleep: (ms: number) => {
        slept.push(ms)
        elapsed += ms
        return Promise.resolve()
      },
    }
    const source = rest({
      url: api.origin,
      paginate: pageNumber({ pages: "pages" }),
      rateLimit: { requests: 4, per: "1 second" },
      http: { retry: { attempts: 2, baseDelay: 0 } },
    })
    await readAll(source, contextOf({ ports: { ...systemPorts, clock } }).context)
    expect(api.asked).toHaveLength(5)
    expect(slept.filter((ms) => ms > 0)).toEqual([250, 250, 250, 250])
  })
})
