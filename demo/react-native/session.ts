import NetInfo from '@react-native-community/netinfo'
import * as SecureStore from 'expo-secure-store'
import { createSession, passwordGrant } from 'latchkey'
import { appState, expoSecureStore, netInfo } from 'latchkey/react-native'
import { AppState } from 'react-native'

/** The demo server: a simulator reaches it as it is, Android by `adb reverse tcp:4000 tcp:4000`. */
export const origin = 'http://localhost:4000'

export const session = createSession({
  resources: origin,
  grant: passwordGrant({
    tokenEndpoint: `${origin}/token`,
    refreshEndpoint: `${origin}/token/refresh`,
    revocationEndpoint: `${origin}/revoke`,
    clientId: 'demo',
    scope: 'collect',
  }),
  storage: expoSecureStore(SecureStore),
  wake: [appState(AppState), netInfo(NetInfo)],
})
