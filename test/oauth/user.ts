/** A user with a browser made of fetch and cookies: signs in, and says yes or no. */
export interface User {
  /** Follows an authorization URL to the end. Resolves with the URL at the redirect URI. */
  visit(url: string): Promise<string>
  /** Where it has been, the authorization URL first. */
  readonly history: string[]
}

export interface UserOptions {
  readonly login?: string
  readonly refuses?: boolean
  /** The URL that is not followed any more. */
  readonly redirectUri: string
  /** Says yes to a device: the way ends at a page. */
  readonly isDevice?: boolean
}

export function createUser({ login = 'ada', refuses = false, redirectUri, isDevice = false }: UserOptions): User {
  const cookies = new Map<string, string>()
  const history: string[] = []

  async function request(url: string, form?: URLSearchParams): Promise<Response> {
    history.push(url)
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(pair => pair.join('=')).join('; ') },
      ...(form && { method: 'POST', body: form }),
    })
    for (const line of response.headers.getSetCookie()) {
      const [name = '', value = ''] = line.split(';')[0]?.split('=') ?? []
      if (value) cookies.set(name, value)
      else cookies.delete(name)
    }
    return response
  }

  return {
    history,
    async visit(start) {
      let url = start
      let response = await request(url)
      let hasRefused = false
      for (let step = 0; step < 20; step++) {
        const location = response.headers.get('location')
        if (location) {
          url = new URL(location, url).href
          if (url.startsWith(redirectUri)) return url
          response = await request(url)
          continue
        }
        const page = await response.text()
        if (isDevice && hasRefused) return url
        const device = isDevice && deviceForm(page)
        if (device) {
          response = await request(new URL(device.action, url).href, device.fields)
          continue
        }
        const actions = [...page.matchAll(/action="([^"]+)"/g)].map(match => match[1] ?? '')
        const action = actions.find(action => action.endsWith('/abort') === refuses)
        if (!action) return `no answer: ${response.status} ${page.slice(0, 400)}`
        url = new URL(action, url).href
        hasRefused = refuses
        response = await request(url, new URLSearchParams({ login }))
      }
      throw new Error('The sign-in went round and round.')
    },
  }
}

/** oidc-provider's page that shows the user code. */
function deviceForm(page: string): { action: string; fields: URLSearchParams } | undefined {
  const [, action] = /action="([^"]*\/device[^"]*)"/.exec(page) ?? []
  if (!action) return undefined
  const fields = [...page.matchAll(/<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"/g)].map(
    ([, name = '', value = '']) => [name, value],
  )
  return { action, fields: new URLSearchParams([...fields, ['confirm', 'yes']] as [string, string][]) }
}
