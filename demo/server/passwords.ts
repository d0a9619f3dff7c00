import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'

const length = 32
const cost = { N: 16_384, r: 8, p: 1 }

/** Hashes a password or client secret for the database. The cost stands in the hash, so it can be raised later. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derive(password, salt, cost)
  return ['scrypt', cost.N, cost.r, cost.p, salt.toString('base64url'), hash.toString('base64url')].join('$')
}

/** Whether the password fits. With no hash (nobody of that name) it takes as long and says no: the time tells nothing. */
export async function verifyPassword(password: string, hashed: string | undefined): Promise<boolean> {
  const [, N, r, p, salt = '', expected = ''] = (hashed ?? (await nobody())).split('$')
  const actual = await derive(password, Buffer.from(salt, 'base64url'), { N: Number(N), r: Number(r), p: Number(p) })
  return timingSafeEqual(actual, Buffer.from(expected, 'base64url')) && hashed !== undefined
}

let hashOfNobody: Promise<string> | undefined

/** Made when the server starts, so that the first unknown name does not take twice as long. */
export function nobody(): Promise<string> {
  hashOfNobody ??= hashPassword(randomBytes(16).toString('base64url'))
  return hashOfNobody
}

function derive(password: string, salt: Buffer, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, length, options, (error, key) => (error ? reject(error) : resolve(key)))
  })
}
