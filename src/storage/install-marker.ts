import { SessionError } from '../values/errors.ts'
import { randomId } from '../values/record.ts'
import { bounded, nativeTimeoutMs, type Place } from './native-calls.ts'

/** Where the marker lives: outside of the keychain, so that it goes when the app goes. AsyncStorage fits. */
export interface MarkerStorage {
  getItem(key: string): Promise<string | null | undefined> | string | null | undefined
  setItem(key: string, value: string): unknown
}

export interface ReinstallOptions {
  /** iOS keeps keychain items when an app is deleted. `'wipe'` forgets them at the first start after a reinstall. @default 'keep' */
  onReinstall?: 'keep' | 'wipe' | undefined
  /** AsyncStorage or alike; `'wipe'` needs it. An app that clears it signs its users out. */
  marker?: MarkerStorage | undefined
}

export interface InstallMarker {
  /** The id of this installation, made now where none is stored. Rejects where the marker can't be read: whether to wipe is not known then. */
  read(): Promise<string>
  /** Writes the id, unless it stands there already. `undefined` where it can't: a head without an id is adopted later. */
  ensure(): Promise<string | undefined>
}

const key = 'latchkey:install'

/** @throws SessionError `misconfigured` for 'wipe' without a marker */
export function installMarker(place: Place, options: ReinstallOptions): InstallMarker | undefined {
  if (options.onReinstall !== 'wipe') return undefined
  const marker = options.marker as MarkerStorage
  if (!marker) {
    throw new SessionError(
      'misconfigured',
      "onReinstall: 'wipe' needs a marker outside of the keychain: marker: AsyncStorage.",
    )
  }

  const load = () =>
    bounded('The marker of onReinstall', () => marker.getItem(key), nativeTimeoutMs).then(id => id || undefined)

  /** Once per process for all keys: two sessions that start together agree on one id. */
  async function read(): Promise<string> {
    place.install ??= load().then(id => id ?? randomId())
    try {
      return await place.install
    } catch (error) {
      place.install = undefined
      throw error
    }
  }

  async function ensure(): Promise<string | undefined> {
    const id = await read()
    try {
      if ((await load()) !== id) await bounded('The marker', () => marker.setItem(key, id), nativeTimeoutMs)
      return id
    } catch {
      return undefined
    }
  }

  return { read, ensure }
}
