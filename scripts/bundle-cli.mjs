/**
 * Makes kubectl-serval: one file that runs wherever Node is, without node_modules beside it. Made from the sources, so that nothing
 * has to be built before.
 *
 * usage: bundle-cli.mjs [--quiet]
 */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { ownRooms } from './own-rooms.mjs';
import { thirdParty } from './third-party.mjs';

const root = new URL('..', import.meta.url).pathname;
const quiet = process.argv.includes('--quiet');

/** `beside`: files that go with it, by name, with the words that make the program print them. */
const programs = [
  {
    name: 'kubectl-serval',
    room: 'cli',
    beside: [{ name: 'kubectl_complete-serval', words: ['completion', 'kubectl'] }],
  },
];

async function bundle({ name, room, beside }) {
  const { version } = JSON.parse(readFileSync(join(root, room, 'package.json'), 'utf8'));
  const file = join(root, room, 'dist-bundle', name);
  mkdirSync(dirname(file), { recursive: true });
  const { metafile } = await build({
    entryPoints: [join(root, room, 'src/main.ts')],
    outfile: file,
    bundle: true,
    platform: 'node',
    target: 'node22',
    // A file without an extension is CommonJS to every Node, and is not read twice to find that out.
    format: 'cjs',
    minify: true,
    // Stacks in reports of failures name functions.
    keepNames: true,
    legalComments: 'none', // THIRD-PARTY.txt has them
    metafile: true,
    plugins: [ownRooms],
    define: { servalVersion: JSON.stringify(version), 'import.meta.url': '""' },
    logLevel: 'warning',
  });
  chmodSync(file, 0o755);
  // Here the room says that files are ES modules; where it is installed nobody does.
  writeFileSync(join(dirname(file), 'package.json'), '{ "type": "commonjs" }\n');
  writeFileSync(join(dirname(file), 'THIRD-PARTY.txt'), thirdParty(root, metafile));
  for (const { name: other, words } of beside) {
    const path = join(dirname(file), other);
    writeFileSync(path, execFileSync(process.execPath, [file, ...words]));
    chmodSync(path, 0o755);
  }
  if (!quiet) console.log(`${file}: ${(statSync(file).size / 1e6).toFixed(2)} MB`);
}

for (const program of programs) await bundle(program);
