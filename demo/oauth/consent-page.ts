import type { Interaction } from 'oidc-provider'

/** The page where a user signs in, and says yes or no. */
export function consentPage({ uid, prompt, params, session }: Interaction): string {
  const isLogin = prompt.name === 'login'
  const scopes = String(params.scope ?? '')
    .split(' ')
    .filter(Boolean)
  const body = isLogin
    ? `<label>User <input name="login" value="ada" autocomplete="username" required></label>`
    : `<p>${escaped(session?.accountId)}, the app <b>${escaped(params.client_id)}</b> asks for:</p>
       <ul>${scopes.map(scope => `<li>${escaped(scope)}</li>`).join('')}</ul>`
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${isLogin ? 'Sign in' : 'Allow access'}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 12vh auto; padding: 0 1rem }
  form { display: inline } input { font: inherit; padding: .3rem } button { font: inherit; padding: .4rem 1rem; margin-right: .5rem }
</style>
<h1>${isLogin ? 'Sign in' : 'Allow access?'}</h1>
<form method="post" action="/interaction/${escaped(uid)}/${isLogin ? 'login' : 'confirm'}">${body}
  <p><button id="yes" autofocus>${isLogin ? 'Sign in' : 'Allow'}</button></p></form>
<form method="post" action="/interaction/${escaped(uid)}/abort"><button id="no">Cancel</button></form>
</html>`
}

const escaped = (value: unknown) => String(value ?? '').replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`)
