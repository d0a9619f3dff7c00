import type { Interaction } from 'oidc-provider'
import { escaped, serverPage } from './server-page.ts'

/** The page where a user signs in, and says yes or no. */
export function consentPage({ uid, prompt, params, session }: Interaction): string {
  const isLogin = prompt.name === 'login'
  const scopes = String(params.scope ?? '')
    .split(' ')
    .filter(Boolean)
  const body = isLogin
    ? `<p><label>User <input name="login" value="ada" autocomplete="username" required></label></p>`
    : `<p>${escaped(session?.accountId)}, the app <b>${escaped(params.client_id)}</b> asks for:</p>
       <ul>${scopes.map(scope => `<li>${escaped(scope)}</li>`).join('')}</ul>`
  return serverPage(
    isLogin ? 'Sign in' : 'Allow access?',
    `<form method="post" action="/interaction/${escaped(uid)}/${isLogin ? 'login' : 'confirm'}">${body}
  <button id="yes" autofocus>${isLogin ? 'Sign in' : 'Allow'}</button></form>
<form method="post" action="/interaction/${escaped(uid)}/abort"><button id="no" formnovalidate>Cancel</button></form>`,
  )
}
