import { useCallback, useEffect, useState, useSyncExternalStore } from 'react'
import { Button, SafeAreaView, ScrollView, StyleSheet, Text, TextInput } from 'react-native'
import { origin, session } from './session'

export function App() {
  const state = useSyncExternalStore(session.subscribe, () => session.state)
  const [lines, setLines] = useState<string[]>([])
  const tell = useCallback((line: string) => setLines(before => [line, ...before].slice(0, 50)), [])

  useEffect(() => {
    const offs = [
      session.on('renewed', ({ how }) => tell(`renewed (${how})`)),
      session.on('signed-out', ({ reason }) => tell(`signed out (${reason})`)),
      session.on('storage-failed', () => tell('the storage failed')),
    ]
    return () => {
      for (const off of offs) off()
    }
  }, [tell])

  async function call(times: number) {
    const calls = Array.from({ length: times }, () => session.fetch(`${origin}/collect`))
    for (const result of await Promise.allSettled(calls)) {
      tell(result.status === 'fulfilled' ? `GET /collect ${result.value.status}` : `GET /collect ${result.reason.code}`)
    }
  }

  return (
    <SafeAreaView style={styles.page}>
      <Text style={styles.title}>Latchkey</Text>
      {state.status === 'starting' && <Text>{state.error ? 'The phone is locked, or the storage hangs.' : '…'}</Text>}
      {state.status === 'signed-out' && <SignIn tell={tell} />}
      {state.status === 'signed-in' && (
        <>
          <Countdown expiresAtMs={state.expiresAtMs} />
          <Button title="One call" onPress={() => void call(1)} />
          <Button title="20 calls at once" onPress={() => void call(20)} />
          <Button title="Sign out" onPress={() => void session.signOut()} />
          <Text>Now kill the app and start it again: it is still signed in.</Text>
        </>
      )}
      <ScrollView>
        {lines.map((line, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a log has no other key
          <Text key={lines.length - index}>{line}</Text>
        ))}
      </ScrollView>
    </SafeAreaView>
  )
}

function SignIn({ tell }: { tell(line: string): void }) {
  const [username, setUsername] = useState('')
  const [password, setPassword] = useState('')
  const signIn = () => session.signIn({ username, password }).catch(error => tell(error.message))
  return (
    <>
      <TextInput style={styles.input} autoCapitalize="none" placeholder="user name" onChangeText={setUsername} />
      <TextInput style={styles.input} secureTextEntry placeholder="password" onChangeText={setPassword} />
      <Button title="Sign in" onPress={() => void signIn()} />
    </>
  )
}

function Countdown({ expiresAtMs }: { expiresAtMs: number | undefined }) {
  const [nowMs, setNowMs] = useState(Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), 500)
    return () => clearInterval(timer)
  }, [])
  if (expiresAtMs === undefined) return <Text>The server does not say how long the token lives.</Text>
  return <Text>The access token lives {Math.max(0, Math.round((expiresAtMs - nowMs) / 1000))} s</Text>
}

const styles = StyleSheet.create({
  page: { flex: 1, gap: 12, padding: 24 },
  title: { fontSize: 24 },
  input: { borderWidth: 1, padding: 8 },
})
