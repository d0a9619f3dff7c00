/** The toolchain needs this Node; the package itself runs on less, see "engines" in package.json. */
export const neededMajor = 24

/** Throws with the way out when a Node runs the tools that is too old for them. */
export function assertNode(version: string = process.versions.node): void {
  if (Number.parseInt(version, 10) >= neededMajor) return
  throw new Error(
    `The tests need Node ${neededMajor} or newer, and this is Node ${version} (${process.execPath}). ` +
      `Run them by \`npm test\`: npm's scripts use the Node that \`npm ci\` puts into node_modules/.bin. ` +
      `If it is not there, npm blocked its install script: run \`npm rebuild node\`, and leave "allowScripts" in package.json and "ignore-scripts" off.`,
  )
}
