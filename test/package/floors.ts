import ts from 'typescript'

/** One import of a file as it is written; `typeOnly` leaves nothing at run time. */
export interface Import {
  specifier: string
  typeOnly: boolean
}

/** The sources by their path inside src/, with forward slashes. */
export type Tree = Record<string, readonly Import[]>

const floors: readonly (readonly string[])[] = [
  ['values'],
  ['ports'],
  ['engine'],
  // A storage that is shared brings its lock.
  ['locks'],
  ['storage', 'attach', 'grants'],
  ['session'],
  ['react', 'worker', 'devtools', 'testing'],
]

/** What may stand directly in src/: the published entries. */
const entries = ['index', 'oauth', 'node', 'redis', 'react-native', 'react', 'devtools', 'worker', 'testing']

/** Entries for servers; all others also run where there is no `node:`. */
const serverEntries = ['node.ts', 'redis.ts']

/** The packages that may be imported at all, each by the folders that may. */
const packages: Record<string, readonly string[]> = {
  ky: ['grants'],
  'jwt-decode': ['values'],
  oauth4webapi: ['grants', 'attach'],
  // A native module: imported when a keyring is first used, an optional peer.
  '@napi-rs/keyring': ['storage'],
  // An optional peer, loaded when loopback() opens a browser.
  open: ['grants'],
}

/** What speaks to token endpoints comes with a grant: no session pays for it that has a grant of its own. */
const onlyByGrants = ['ky', 'oauth4webapi']

/** Every breach of the floors as a sentence; none in a sound tree. */
export function breaches(tree: Tree): string[] {
  const edges = Object.entries(tree).flatMap(([from, imports]) =>
    imports.map(imported => ({ ...imported, from, to: resolve(from, imported.specifier) })),
  )
  const files = Object.keys(tree)
  return [
    ...files.flatMap(misplaced),
    ...edges.flatMap(edge => (edge.to === undefined ? strayPackage(edge) : wrongWay(edge, edge.to, files))),
    ...cycles(files, edges),
    ...leaks(files, edges),
  ]
}

interface Edge extends Import {
  from: string
  /** The imported source, or nothing where it is a package. */
  to: string | undefined
}

/** The imports of one source: static, dynamic, re-exported, `import('…')` types, `require`. */
export function importsOf(file: string, text: string): Import[] {
  const found: Import[] = []
  const add = (node: ts.Node | undefined, typeOnly: boolean) => {
    if (node && ts.isStringLiteralLike(node)) found.push({ specifier: node.text, typeOnly })
    else if (node) found.push({ specifier: node.getText(), typeOnly })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, bindsTypesOnly(node.importClause))
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, exportsTypesOnly(node))
    else if (ts.isExternalModuleReference(node)) add(node.expression, false)
    else if (ts.isImportTypeNode(node))
      add(ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, true)
    else if (ts.isCallExpression(node) && loads(node.expression)) add(node.arguments[0], false)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  return found
}

function bindsTypesOnly(clause: ts.ImportClause | undefined): boolean {
  if (!clause) return false
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  const named = clause.namedBindings
  return !clause.name && !!named && ts.isNamedImports(named) && allTypeOnly(named.elements)
}

function exportsTypesOnly(node: ts.ExportDeclaration): boolean {
  const clause = node.exportClause
  return node.isTypeOnly || (!!clause && ts.isNamedExports(clause) && allTypeOnly(clause.elements))
}

function allTypeOnly(elements: readonly { isTypeOnly: boolean }[]): boolean {
  return elements.length > 0 && elements.every(element => element.isTypeOnly)
}

function loads(callee: ts.Expression): boolean {
  return callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && callee.text === 'require')
}

function misplaced(file: string): string[] {
  if (floorOf(file) >= 0) return []
  return isEntry(file)
    ? [`${file}: only the published entries stand directly in src/`]
    : [`${file}: the folder ${folderOf(file)}/ stands on no floor`]
}

function wrongWay({ from, specifier }: Edge, to: string, files: readonly string[]): string[] {
  if (!files.includes(to)) return [`${from}: there is no ${specifier}`]
  if (floorOf(to) > floorOf(from)) return [`${from}: imports up, ${to}`]
  const aside = floorOf(to) === floorOf(from) && (isEntry(to) || folderOf(to) !== folderOf(from))
  return aside ? [`${from}: imports sideways, ${to}`] : []
}

function strayPackage({ from, specifier }: Edge): string[] {
  if (specifier.startsWith('node:')) return []
  const folders = packages[packageOf(specifier)]
  if (!folders) return [`${from}: imports ${specifier}, and only ${Object.keys(packages).join(', ')} may be`]
  return folders.includes(folderOf(from)) ? [] : [`${from}: imports ${specifier}, and only ${folders.join('/, ')}/ may`]
}

/** Also those of types: files that need each other's types are one concept in two files. */
function cycles(files: readonly string[], edges: readonly Edge[]): string[] {
  const found: string[] = []
  const done = new Set<string>()
  const visit = (file: string, way: readonly string[]): void => {
    const start = way.indexOf(file)
    if (start >= 0) found.push(`${file}: imports round, ${[...way.slice(start), file].join(' → ')}`)
    if (start >= 0 || done.has(file)) return
    for (const { to } of edges.filter(({ from }) => from === file)) if (to) visit(to, [...way, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  return found
}

function leaks(files: readonly string[], edges: readonly Edge[]): string[] {
  const portable = files.filter(file => isEntry(file) && !serverEntries.includes(file))
  const sessions = files.filter(file => folderOf(file) === 'session')
  const runtime = edges.filter(({ typeOnly }) => !typeOnly)
  return [
    ...portable.flatMap(entry => reached(entry, edges, specifier => specifier.startsWith('node:'))),
    ...sessions.flatMap(file => reached(file, runtime, specifier => onlyByGrants.includes(packageOf(specifier)))),
  ]
}

/** The unwanted packages that `root` comes to, with the way there. */
function reached(root: string, edges: readonly Edge[], unwanted: (specifier: string) => boolean): string[] {
  const found: string[] = []
  const ways = new Map([[root, [root]]])
  for (const [file, way] of ways) {
    for (const { to, specifier } of edges.filter(({ from }) => from === file)) {
      if (to === undefined) {
        if (unwanted(specifier)) found.push(`${root}: reaches ${specifier} by ${way.join(' → ')}`)
      } else if (!ways.has(to)) ways.set(to, [...way, to])
    }
  }
  return found
}

function resolve(from: string, specifier: string): string | undefined {
  return specifier.startsWith('.') ? new URL(specifier, `src:/${from}`).pathname.slice(1) : undefined
}

function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

function folderOf(file: string): string {
  return file.slice(0, Math.max(file.indexOf('/'), 0))
}

function isEntry(file: string): boolean {
  return !file.includes('/')
}

function floorOf(file: string): number {
  if (isEntry(file)) return entries.includes(file.replace(/\.tsx?$/, '')) ? floors.length : -1
  return floors.findIndex(folders => folders.includes(folderOf(file)))
}
