import { readFileSync } from "node:fs"
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createNetServer, type AddressInfo, type Server, type Socket } from "node:net"
import { createServer as createTlsServer } from "node:tls"

export const certificate = (name: string): string =>
  readFileSync(new URL(`./certificates/${name}`, import.meta.url), "utf8")

export interface TestServer {
  readonly port: number
  /** `http://localhost:port`, or https. */
  readonly origin: string
  /** Connections that are open now. */
  readonly open: ReadonlySet<Socket>
  /** Connections ever made. */
  readonly accepted: number
}

const running: { server: Server; open: Set<Socket> }[] = []

async function listening(server: Server, scheme: string): Promise<TestServer> {
  const open = new Set<Socket>()
  let accepted = 0
  server.on("connection", (socket: Socket) => {
    accepted += 1
    open.add(socket)
    socket.on("close", () => open.delete(socket))
    socket.on("error", () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  running.push({ server, open })
  const { port } = server.address() as AddressInfo
  return {
    port,
    origin: `${scheme}://localhost:${port}`,
    open,
    get accepted() {
      return accepted
    },
  }
}

/** Speaks raw bytes: `answer` is called with each piece that comes in. */
export function rawServer(answer: (socket: Socket, request: string) => void): Promise<TestServer> {
  const server = createNetServer((socket) => {
    socket.on("error", () => undefined)
    socket.on("data", (piece) => answer(socket, piece.toString()))
  })
  return listening(server, "http")
}

export function httpServer(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<TestServer> {
  return listening(createHttpServer(answer), "http")
}

/** Answers `ok` with the certificate of this name. */
export function tlsServer(name: "valid" | "expired" | "other"): Promise<TestServer> {
  const server = createTlsServer({ key: certificate(`${name}.key`), cert: certificate(`${name}.pem`) }, (socket) => {
    socket.on("error", () => undefined)
    socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"))
  })
  server.on("tlsClientError", () => undefined)
  return listening(server, "https")
}

/** Ends all servers with their connections. */
export async function endServers(): Promise<void> {
  for (const { server, open } of running.splice(0)) {
    for (const socket of open) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
}
