import { Octokit } from '@octokit/core'
import type { Driven, Fetching } from '../recipe.ts'

export function drive(session: Fetching, origin: string): Driven {
  // #region recipe
  const octokit = new Octokit({ baseUrl: origin, request: { fetch: session.fetch } })
  // #endregion
  return {
    get: () => octokit.request('GET /repos/{owner}/{repo}/issues', { owner: 'a', repo: 'b' }).then(({ data }) => data),
    post: ({ marker }) =>
      octokit
        .request('POST /repos/{owner}/{repo}/issues', { owner: 'a', repo: 'b', title: marker })
        .then(({ data }) => data),
    upload: bytes =>
      octokit.request({
        method: 'POST',
        url: '/upload',
        headers: { 'content-type': 'application/octet-stream' },
        data: bytes,
      }),
  }
}
