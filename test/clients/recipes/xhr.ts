import type { Session } from 'latchkey'

// #region recipe
/** An upload that tells its progress, which fetch does not: sent again once if the server does not like the token. */
export async function upload(
  session: Pick<Session, 'authorizationHeaders' | 'getAccessToken' | 'renew'>,
  url: string,
  body: XMLHttpRequestBodyInit,
  onProgress: (sent: number) => void,
): Promise<XMLHttpRequest> {
  const send = async () => {
    const headers = await session.authorizationHeaders(url, { method: 'POST' })
    return new Promise<XMLHttpRequest>((resolve, reject) => {
      const request = new XMLHttpRequest()
      request.open('POST', url)
      request.setRequestHeader('Content-Type', 'application/json')
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
      request.upload.onprogress = ({ loaded }) => onProgress(loaded)
      request.onload = () => resolve(request)
      request.onerror = () => reject(new TypeError('The network failed.'))
      request.send(body)
    })
  }
  const token = await session.getAccessToken()
  const answer = await send()
  if (answer.status !== 401) return answer
  // Another call may have brought another token meanwhile.
  if ((await session.getAccessToken()) === token) await session.renew()
  return send()
}
// #endregion
