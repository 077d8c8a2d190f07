/** Builds the page into the Python package: one script, one style sheet, one document, and what they were built from. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { defineConfig, type Plugin } from 'vite'

const here = import.meta.dirname
const assets = join(here, '..', 'tapio_otel', 'ui', 'assets')
const left_out = new Set(['node_modules', 'package-lock.json', '.gitignore'])
const notices = ['echarts/LICENSE', 'echarts/NOTICE', 'zrender/LICENSE', 'tslib/LICENSE.txt', 'tslib/CopyrightNotice.txt']

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => !left_out.has(entry.name))
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(directory, entry.name)) : [join(directory, entry.name)]))
}

/** Hashes names and contents of all sources in the order of their names; tests/ui/test_assets.py does the same. */
function hashOfSources(): string {
  const hash = createHash('sha256')
  const names = filesBelow(here).map((path) => relative(here, path).split('\\').join('/'))
  for (const name of names.sort()) hash.update(`${name}\0`).update(readFileSync(join(here, name))).update('\0')
  return hash.digest('hex')
}

function hashOf(name: string): string {
  return createHash('sha256').update(readFileSync(join(assets, name))).digest('hex')
}

/** Copies the document, gathers the licences of what is bundled, and records what was built from what. */
const record: Plugin = {
  name: 'record',
  closeBundle() {
    writeFileSync(join(assets, 'index.html'), readFileSync(join(here, 'index.html')))
    const texts = notices.map((name) => `== ${name}\n\n${readFileSync(join(here, 'node_modules', name), 'utf8').trim()}\n`)
    writeFileSync(join(assets, 'LICENSES.txt'), `The page's script contains the following software.\n\n${texts.join('\n')}`)
    const built = Object.fromEntries(['LICENSES.txt', 'app.css', 'app.js', 'index.html'].map((name) => [name, hashOf(name)]))
    writeFileSync(join(assets, 'build.json'), `${JSON.stringify({ sources: hashOfSources(), assets: built }, null, 2)}\n`)
  },
}

export default defineConfig({
  root: here,
  publicDir: false,
  plugins: [record],
  build: {
    outDir: assets,
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: false,
    cssCodeSplit: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1024,
    rolldownOptions: {
      input: join(here, 'src', 'main.ts'),
      output: { entryFileNames: 'app.js', assetFileNames: 'app[extname]', codeSplitting: false },
    },
  },
})
