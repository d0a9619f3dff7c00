import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
import { html } from 'hono/html'
import { secureHeaders } from 'hono/secure-headers'
import type { Env } from './environment.ts'
import { openapi } from './openapi.ts'
import { knownScopes } from './scopes.ts'

const swaggerUi = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

// A file and no inline script, so that the policy of the page needs no exception for scripts.
const start = `
const ui = SwaggerUIBundle({ url: '/openapi.json', dom_id: '#docs', deepLinking: true, tryItOutEnabled: true, validatorUrl: null })
ui.initOAuth({ clientId: 'demo', scopes: ${JSON.stringify(knownScopes)} })
`

/** GET /openapi.json and GET /docs: Swagger UI from its npm package, so it works without the internet. */
export function docs(): Hono<Env> {
  const routes = new Hono<Env>()
  routes.get('/openapi.json', c => c.json(openapi()))

  routes.use(
    '/docs/*',
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'self'"],
        styleSrc: ["'self'", "'unsafe-inline'"], // Swagger UI styles its elements one by one
        imgSrc: ["'self'", 'data:'],
        frameAncestors: ["'none'"],
      },
    }),
  )
  routes.get('/docs', c =>
    c.html(html`<!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <title>Demo API</title>
          <link rel="stylesheet" href="/docs/swagger-ui.css" />
          <link rel="icon" type="image/png" href="/docs/favicon-32x32.png" />
        </head>
        <body>
          <div id="docs"></div>
          <script src="/docs/swagger-ui-bundle.js"></script>
          <script src="/docs/start.js"></script>
        </body>
      </html>`),
  )
  routes.get('/docs/start.js', c => c.body(start, 200, { 'Content-Type': 'text/javascript; charset=utf-8' }))
  for (const file of ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']) {
    routes.get(`/docs/${file}`, serveStatic({ root: swaggerUi, path: file }))
  }
  return routes
}
