/** The look of the authorization server's pages: nothing from elsewhere, so that the demo works without the internet. */
export const serverPage = (title: string, body: string): string => `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 12vh auto; padding: 0 1rem }
  form { display: inline } input { font: inherit; padding: .3rem } code { font-size: 1.4rem }
  button { font: inherit; padding: .4rem 1rem; margin: .3rem .5rem .3rem 0 }
</style>
<h1>${escaped(title)}</h1>
${body}
</html>`

export const escaped = (value: unknown): string =>
  String(value ?? '').replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`)

interface PageContext {
  body: string
  type: string
  oidc: { client?: { clientId: string } }
}

/** What oidc-provider shows by itself, in that look. The forms that it hands in are HTML. */
export const ownPages = {
  logout: {
    logoutSource(context: PageContext, form: string) {
      context.body = serverPage(
        'Sign out here too?',
        `${form}<button autofocus form="op.logoutForm" value="yes" name="logout">Sign out</button>
<button form="op.logoutForm">Stay signed in</button>`,
      )
    },
    postLogoutSuccessSource(context: PageContext) {
      context.body = serverPage('Signed out', '<p>You may close this page.</p>')
    },
  },
  device: {
    userCodeInputSource(context: PageContext, form: string, _out: unknown, error: unknown) {
      context.body = serverPage(
        'Sign in a device',
        `<p>${error ? 'That did not work. Type the code again.' : 'Type the code that the device shows.'}</p>
${form}<button form="op.deviceInputForm">Continue</button>`,
      )
    },
    userCodeConfirmSource(context: PageContext, form: string, _client: unknown, _info: unknown, userCode: string) {
      context.body = serverPage(
        'Is this your device?',
        `<p><b>${escaped(context.oidc.client?.clientId)}</b> should show this code: <code>${escaped(userCode)}</code></p>
${form}<button autofocus form="op.deviceConfirmForm">Yes</button>
<button form="op.deviceConfirmForm" value="yes" name="abort">No</button>`,
      )
    },
    successSource(context: PageContext) {
      context.body = serverPage('Signed in', '<p>Go back to the device. You may close this page.</p>')
    },
  },
  renderError(context: PageContext, out: Record<string, unknown>) {
    context.type = 'html'
    const lines = Object.entries(out).map(([name, value]) => `<p><b>${escaped(name)}</b>: ${escaped(value)}</p>`)
    context.body = serverPage('That went wrong', lines.join('\n'))
  },
}
