export { createSessions, type Sessions, type SessionsOptions } from './session/create-sessions.ts'
export { type FileStorageOptions, fileStorage } from './storage/file.ts'
