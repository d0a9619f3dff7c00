import type { Subject } from '../harness/subject.ts'
import { auth0 } from './auth0.ts'
import { axiosAuthRefresh } from './axios-auth-refresh.ts'
import { axiosJwt } from './axios-jwt.ts'
import { azure } from './azure.ts'
import { badgateway } from './badgateway.ts'
import { bare } from './bare.ts'
import { floor } from './floor.ts'
import { googleAuth } from './google-auth.ts'
import { ideal } from './ideal.ts'
import { ky } from './ky.ts'
import { oidcClientTs } from './oidc-client-ts.ts'
import { refreshFetch } from './refresh-fetch.ts'
import { supabase } from './supabase.ts'

export const limits: readonly Subject[] = [bare, floor, ideal]

export const peers: readonly Subject[] = [
  ky,
  axiosAuthRefresh,
  axiosJwt,
  badgateway,
  refreshFetch,
  azure,
  googleAuth,
  supabase,
  oidcClientTs,
  auth0,
]
