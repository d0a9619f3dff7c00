export type { IoRedisLike, NodeRedisLike } from './locks/redis-connection.ts'
export { type RedisStorageOptions, redisStorage } from './storage/redis.ts'
