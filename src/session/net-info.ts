import type { Wake } from '../ports/wake.ts'
import { stopOf } from './native-listener.ts'

interface NetInfoStateLike {
  readonly isConnected?: boolean | null
  readonly isInternetReachable?: boolean | null
}

/** What is needed of @react-native-community/netinfo. */
export interface NetInfoLike {
  addEventListener(listener: (state: NetInfoStateLike) => void): unknown
}

/** The network is back. NetInfo also tells at the start, and of every detail: only online after offline counts, and `null` is neither. */
export function netInfo(NetInfo: NetInfoLike): Wake {
  return listener => {
    let wasOffline = false
    const onState = (state: NetInfoStateLike) => {
      if (state?.isConnected === false || state?.isInternetReachable === false) wasOffline = true
      else if (state?.isConnected === true && wasOffline) {
        wasOffline = false
        listener()
      }
    }
    return stopOf(NetInfo, undefined, onState, () => NetInfo.addEventListener(onState))
  }
}
