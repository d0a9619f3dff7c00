import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os'
import type { Figure, Table } from './figure.ts'

interface Result {
  readonly figure: Pick<Figure, 'number' | 'title'>
  readonly tables: readonly Table[]
  readonly seconds: number
}

export interface Environment {
  readonly date: string
  readonly node: string
  readonly cpu: string
  readonly cores: number
  readonly memoryGB: number
  /** Of the last quarter of an hour: what else the machine did. */
  readonly load: number
  readonly os: string
  readonly commit: string
  readonly packages: Readonly<Record<string, string>>
}

export function environment(): Environment {
  const { dependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGB: Math.round(totalmem() / 2 ** 30),
    load: Math.round((loadavg()[2] ?? 0) * 10) / 10,
    os: `${platform()} ${release()} ${arch()}`,
    commit: commitOf(),
    packages: dependencies,
  }
}

function commitOf(): string {
  try {
    const git = (...given: string[]) => execFileSync('git', given, { encoding: 'utf8' }).trim()
    const isChanged = git('status', '--porcelain', '--', 'src') !== ''
    return `${git('rev-parse', '--short', 'HEAD')}${isChanged ? ' with changes in src' : ''}`
  } catch {
    return 'unknown'
  }
}

/** Writes the tables, with what is behind them, as Markdown and JSON. */
export function write(results: readonly Result[], where: Environment, file?: string): void {
  const markdown = toMarkdown(results, where)
  const target = file ?? new URL('../results/latest', import.meta.url).pathname
  writeFileSync(`${target}.md`, markdown)
  const data = results.map(({ figure, tables, seconds }) => ({
    number: figure.number,
    title: figure.title,
    seconds,
    tables,
  }))
  writeFileSync(`${target}.json`, `${JSON.stringify({ environment: where, figures: data }, null, 2)}\n`)
}

export function toMarkdown(results: readonly Result[], where: Environment): string {
  const { date, node, cpu, cores, memoryGB, load, os, commit, packages } = where
  const peers = Object.entries(packages)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')
  const head = [
    '# Benchmark',
    '',
    `${date}, commit ${commit}. Node ${node} on ${os}: ${cores} cores (${cpu}), ${memoryGB} GB, load average ${load}.`,
    `Peers: ${peers}.`,
    '',
    'Medians, with the least and the most in brackets. `npm run bench` prints all of it, `npm run bench -- --figure 3` one figure.',
    'The floor is an async function with a header literal; the ideal is the hand-written code of `subjects/ideal-fetch.ts`. Each adapter in `subjects/` says how the library is used.',
  ]
  const body = results.flatMap(({ figure, tables }) => [
    '',
    `## ${figure.number}. ${figure.title}`,
    ...tables.flatMap(({ title, note, columns, rows }) => [
      '',
      `### ${title}`,
      '',
      note,
      '',
      ...grid([['', ...columns], ...rows.map(({ subject, cells }) => [subject, ...cells])]),
    ]),
  ])
  return `${[...head, ...body].join('\n')}\n`
}

/** A Markdown table with its columns as wide as their widest cell. */
function grid(lines: readonly (readonly string[])[]): string[] {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(3, ...lines.map(line => line[column]?.length ?? 0)))
  const row = (cells: readonly string[]) =>
    `| ${widths.map((width, at) => (cells[at] ?? '').padEnd(width)).join(' | ')} |`
  const [head = [], ...rest] = lines
  return [row(head), row(widths.map(width => '-'.repeat(width))), ...rest.map(row)]
}
