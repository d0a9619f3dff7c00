// It brings no types.
declare module 'refresh-fetch' {
  type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>
  export function configureRefreshFetch(configuration: {
    fetch: Fetch
    shouldRefreshToken(error: Response): boolean
    refreshToken(): Promise<void>
  }): Fetch
}
