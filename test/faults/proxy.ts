// A TCP proxy before PostgreSQL that understands just enough of its protocol to cut a connection at a chosen message.
import { connect, createServer, type AddressInfo, type Socket } from "node:net"

/** What happens at a COMMIT. */
export type Cut =
  /** It is carried out; its acknowledgement is lost with the connection. */
  | "drop-ack"
  /** It is lost with the connection; the server sees it closed. */
  | "drop-commit"
  /** It is lost; the client's side is closed, the server's stays open, in the middle of the transaction. */
  | "half-open"
  /** The client's side is closed; the COMMIT is delivered when the next connection is made. */
  | "late-at-reconnect"
  /** … when the client asks for the old connection to be ended: the two race. */
  | "late-at-question"
  /** … when that was answered. */
  | "late-after-answer"
  /** It is lost and nothing is closed: silence. */
  | "swallow"

/** What is known of a COMMIT that comes by. */
export interface Commit {
  /** Its transaction asked for its own id: it publishes. */
  readonly publishing: boolean
  /** Of its connection. */
  readonly application: string
}

export interface ProxyOptions {
  /** Asked for each COMMIT; `undefined` lets it pass. May wait. */
  onCommit?: (commit: Commit) => Cut | undefined | Promise<Cut | undefined>
  /** Told before an acknowledgement is dropped: the server has committed. */
  onAcknowledged?: () => void | Promise<void>
  /** Asked for each message of a client after its greeting; true cuts both sides before it is delivered. */
  onMessage?: (type: string) => boolean
}

export interface CutMade {
  readonly cut: Cut
  readonly publishing: boolean
  /** The server acknowledged the COMMIT. */
  committed: boolean
}

export interface Proxy {
  /** The server's URL, by way of the proxy. */
  readonly url: string
  readonly cuts: readonly CutMade[]
  close(): Promise<void>
}

interface Message {
  /** Empty for the greeting, which has none. */
  readonly type: string
  readonly body: Buffer
  readonly whole: Buffer
}

/** Cuts a stream of bytes into messages. */
class Messages {
  #rest: Buffer = Buffer.alloc(0)
  #greeting: boolean

  constructor(options: { greeting: boolean }) {
    this.#greeting = options.greeting
  }

  *push(chunk: Buffer): Generator<Message> {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (;;) {
      const typed = this.#greeting ? 0 : 1
      if (this.#rest.length < typed + 4) return
      const end = typed + this.#rest.readInt32BE(typed)
      if (this.#rest.length < end) return
      const whole = this.#rest.subarray(0, end)
      this.#rest = this.#rest.subarray(end)
      this.#greeting = false
      yield { type: whole.subarray(0, typed).toString(), body: whole.subarray(typed + 4), whole }
    }
  }
}

export async function startProxy(target: string, options: ProxyOptions): Promise<Proxy> {
  const to = new URL(target)
  const sockets = new Set<Socket>()
  const cuts: CutMade[] = []
  const late: Late = { atReconnect: [], atQuestion: [], afterAnswer: [] }
  const server = createServer((client) => {
    const upstream = connect({ host: to.hostname, port: Number(to.port) })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on("error", () => undefined)
      socket.on("close", () => sockets.delete(socket))
    }
    new Connection(client, upstream, options, cuts, late).serve()
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const url = new URL(target)
  url.hostname = "127.0.0.1"
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    cuts,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** COMMITs that wait for their moment. */
type Late = Record<"atReconnect" | "atQuestion" | "afterAnswer", (() => void)[]>

const LATE: Partial<Record<Cut, keyof Late>> = {
  "late-at-reconnect": "atReconnect",
  "late-at-question": "atQuestion",
  "late-after-answer": "afterAnswer",
}

class Connection {
  readonly #client: Socket
  readonly #upstream: Socket
  readonly #options: ProxyOptions
  readonly #cuts: CutMade[]
  readonly #late: Late
  #application = ""
  #publishing = false
  #asking = false
  /** Set once this connection's COMMIT was tampered with. */
  #made: CutMade | undefined
  /** Messages are handled one after the other, also where a decision has to be waited for. */
  #turn: Promise<void> = Promise.resolve()

  constructor(client: Socket, upstream: Socket, options: ProxyOptions, cuts: CutMade[], late: Late) {
    this.#client = client
    this.#upstream = upstream
    this.#options = options
    this.#cuts = cuts
    this.#late = late
  }

  serve(): void {
    const fromClient = new Messages({ greeting: true })
    const fromServer = new Messages({ greeting: false })
    this.#client.on("data", (chunk: Buffer) => {
      this.#turn = this.#turn.then(async () => {
        for (const message of fromClient.push(chunk)) await this.#fromClient(message)
      })
    })
    this.#upstream.on("data", (chunk: Buffer) => {
      for (const message of fromServer.push(chunk)) this.#fromServer(message)
    })
    this.#client.on("close", () => {
      // A half-open connection is one whose server side nobody closes.
      if (this.#made === undefined) this.#upstream.destroy()
    })
    this.#upstream.on("close", () => {
      if (this.#made?.cut !== "swallow") this.#client.destroy()
    })
  }

  async #fromClient(message: Message): Promise<void> {
    if (this.#client.destroyed) return
    if (message.type === "") {
      this.#application = /application_name\0([^\0]*)/.exec(message.body.toString())?.[1] ?? ""
      release(this.#late.atReconnect)
    } else if (this.#options.onMessage?.(message.type) === true) {
      this.#client.destroy()
      this.#upstream.destroy()
      return
    }
    // Q: a simple query; P: the text of a prepared one.
    const text = message.type === "Q" || message.type === "P" ? message.body.toString().replaceAll("\0", "") : ""
    if (text === "BEGIN") this.#publishing = false
    if (text.includes("pg_current_xact_id()::text")) this.#publishing = true
    if (text.includes("pg_terminate_backend")) {
      this.#asking = true
      release(this.#late.atQuestion)
    }
    if (text === "COMMIT") {
      const publishing = this.#publishing
      const cut = await this.#options.onCommit?.({ publishing, application: this.#application })
      if (cut !== undefined) return this.#cut(cut, publishing, message.whole)
    }
    this.#upstream.write(message.whole)
  }

  #cut(cut: Cut, publishing: boolean, commit: Buffer): void {
    this.#made = { cut, publishing, committed: false }
    this.#cuts.push(this.#made)
    if (cut === "swallow") return
    if (cut === "drop-ack") {
      this.#upstream.write(commit)
      return
    }
    const moment = LATE[cut]
    if (moment !== undefined) this.#late[moment].push(() => this.#upstream.write(commit))
    this.#client.destroy()
    if (cut === "drop-commit") this.#upstream.destroy()
  }

  #fromServer(message: Message): void {
    const made = this.#made
    if (made !== undefined) {
      // C: a command is complete. Nothing is told to the client any more.
      if (message.type === "C" && message.body.toString().startsWith("COMMIT")) {
        made.committed = true
        if (made.cut === "drop-ack")
          void Promise.resolve(this.#options.onAcknowledged?.()).then(() => this.#client.destroy())
      }
      return
    }
    this.#client.write(message.whole)
    // Z: ready for the next query.
    if (this.#asking && message.type === "Z") {
      this.#asking = false
      release(this.#late.afterAnswer)
    }
  }
}

function release(waiting: (() => void)[]): void {
  for (const deliver of waiting.splice(0)) deliver()
}
