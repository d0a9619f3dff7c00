import type { DatabaseSync } from 'node:sqlite'
import { hashPassword, verifyPassword } from './passwords.ts'

export type Users = ReturnType<typeof userStore>

export function userStore(database: DatabaseSync) {
  const select = database.prepare('SELECT password_hash FROM users WHERE username = ?')
  const insert = database.prepare('INSERT OR IGNORE INTO users (username, password_hash) VALUES (?, ?)')

  return {
    /** Does nothing to one that is there. */
    async add(username: string, password: string): Promise<void> {
      if (!select.get(username)) insert.run(username, await hashPassword(password))
    },

    async verify(username: string, password: string): Promise<boolean> {
      const row = select.get(username) as { password_hash: string } | undefined
      return verifyPassword(password, row?.password_hash)
    },
  }
}
