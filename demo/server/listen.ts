import { once } from 'node:events'
import type { Server } from 'node:net'

/** Listens on the port or, where somebody else has it, on a free one; resolves with the origin. */
export async function listen(server: Server, port: number, host: string): Promise<string> {
  try {
    await listening(server, port, host)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    await listening(server, 0, host)
  }
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The server has no port.')
  return `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`
}

async function listening(server: Server, port: number, host: string): Promise<void> {
  const listens = once(server, 'listening') // rejects with the server's 'error'
  server.listen(port, host)
  await listens
}
