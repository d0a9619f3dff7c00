export { type LoopbackOptions, loopback } from './grants/loopback.ts'
export { createSessions, type Sessions, type SessionsOptions } from './session/create-sessions.ts'
export { type FileStorageOptions, fileStorage } from './storage/file.ts'
export { type KeyringStorageOptions, keyringStorage } from './storage/keyring.ts'
