/**
 * Bundle what ships: each program in a folder of its own, with what it loads at run time and the licences of all that was
 * bundled. Made from the sources, so that nothing has to be built before but the native addon and the BPF objects. Where a
 * module looks for a file of its package, the bundle has it too: it is one folder below, as the modules are.
 *
 *   NAME/dist/main.js         to be started; of servald also chunks that it loads when they are asked for
 *   NAME/package.json         its version
 *   NAME/THIRD-PARTY.txt      which packages are in it, and their licences
 *   servald/native, servald/build    the addon and the BPF objects, where node-agent/ has them
 *
 * Measured (two cores, Node 24.21): the operator's `--version` takes 176 ms and 93 MB in place of 434 ms and 144 MB, Node alone
 * 21 ms and 41 MB. Without `unusedModules` below 209 ms and 107 MB; minified nothing less, and no stack trace could be read.
 * Leading in a cluster without objects, it has 96 MB in place of 148. More: docs/measurements.md.
 *
 * usage: bundle.mjs [--only serval-operator,servald] [--out FOLDER] [--help]
 */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { at, root, Unable } from './commands.mjs';
import { ownRooms } from './own-rooms.mjs';
import { thirdParty } from './third-party.mjs';

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** By its name: the room, the module to begin with, and what it loads beside modules, by paths in the room. */
const programs = {
  'serval-operator': { room: 'operator', entry: 'src/main.ts', files: [] },
  servald: {
    room: 'node-agent',
    entry: 'src/agent/main.ts',
    files: [
      'native/build/Release/serval.node',
      ...['pod', 'entry', 'connect'].map((name) => `build/sal_${name}.bpf.o`),
      ...['BSD-2-Clause', 'GPL-2.0'].map((name) => `bpf/LICENSE.${name}`),
    ],
  },
};

/**
 * The client library exports 700 classes of the API, each with tables that are filled when it is loaded, and doesn't say that
 * they may be left out when nobody uses them. We use its configuration and credentials.
 */
const unusedModules = {
  name: 'unused-modules',
  setup(build) {
    build.onResolve({ filter: /.*/ }, async ({ path, pluginData, ...where }) => {
      if (pluginData === unusedModules || !`${where.importer}:${path}`.includes('@kubernetes/client-node'))
        return undefined;
      const found = await build.resolve(path, { ...pick(where), pluginData: unusedModules });
      const ofClient = found.path.includes('@kubernetes/client-node/dist/');
      return ofClient ? { ...found, sideEffects: false } : undefined;
    });
  },
};
const pick = ({ importer, namespace, resolveDir, kind }) => ({ importer, namespace, resolveDir, kind });

/** Modules of CommonJS ask for those of Node by `require`, which modules of today don't have. */
const banner =
  "import { createRequire as makeRequire } from 'node:module';\nconst require = makeRequire(import.meta.url);";

async function bundle(name, folder) {
  const { room, entry, files } = programs[name];
  const { version, license } = readJson(at(room, 'package.json'));
  const missing = files.find((file) => !existsSync(at(room, file)));
  if (missing !== undefined)
    throw new Unable(`${room}/${missing} is missing. Build it: node scripts/bootstrap.mjs --for build`);
  rmSync(folder, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: { main: at(room, entry) },
    outdir: join(folder, 'dist'),
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    legalComments: 'none', // THIRD-PARTY.txt has them
    metafile: true,
    plugins: [ownRooms, unusedModules],
    banner: { js: banner },
    logLevel: 'warning',
  });
  for (const file of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(at(room, file), join(folder, file));
  }
  const manifest = { name, version, license, type: 'module' };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(join(folder, 'THIRD-PARTY.txt'), thirdParty(root, metafile));
  cpSync(at('LICENSE'), join(folder, 'LICENSE'));
  chmodSync(join(folder, 'dist/main.js'), 0o755);
}

const help = `usage: node scripts/bundle.mjs [--only ${Object.keys(programs).join(',')}] [--out FOLDER]

  --only  not all of them
  --out   where their folders go, default build/bundles; what has the same name there is replaced

Exit codes: 0 done, 1 it says what is missing and what to do, 2 wrong usage.`;

function readArguments() {
  const options = { only: { type: 'string' }, out: { type: 'string' }, help: { type: 'boolean' } };
  try {
    const { values } = parseArgs({ options });
    const names = values.only?.split(',') ?? Object.keys(programs);
    const unknown = names.find((name) => !(name in programs));
    if (unknown !== undefined) throw new Error(`there is no program "${unknown}"`);
    return { ...values, names };
  } catch (error) {
    console.error(`bundle: ${error.message}\n\n${help}`);
    process.exit(2);
  }
}

async function main() {
  const { names, out = at('build/bundles'), help: asked } = readArguments();
  if (asked) return console.log(help);
  for (const name of names) {
    const folder = resolve(out, name);
    await bundle(name, folder);
    console.log(`bundle: ${folder}`);
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Unable)) throw error;
  console.error(`bundle: ${error.message}`);
  process.exit(1);
}
