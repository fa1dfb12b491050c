/**
 * Build what the agent loads beside its modules: the BPF objects and the native addon. What is newer than its sources stays.
 *
 * usage: build-native.mjs
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { relative } from 'node:path';
import { at, isOlder, root, run, Unable } from './commands.mjs';

const say = (line) => console.log(`build-native: ${line}`);

function buildObjects() {
  mkdirSync(at('node-agent/build'), { recursive: true });
  const machine = run('gcc', ['-dumpmachine']).trim();
  for (const source of readdirSync(at('node-agent/bpf')).filter((name) => name.endsWith('.bpf.c'))) {
    const object = at('node-agent/build', source.replace(/\.bpf\.c$/, '.bpf.o'));
    if (!isOlder(object, at('node-agent/bpf'))) continue;
    say(`BPF object ${relative(root, object)}`);
    run('clang-14', [
      ...['-O2', '-g', '-Wall', '-Wextra', '-Werror', '-Wno-unused-parameter', '-fno-strict-aliasing'],
      ...['-target', 'bpf', '-mcpu=v3', `-I/usr/include/${machine}`],
      ...['-fdebug-compilation-dir=.', '-c', `node-agent/bpf/${source}`, '-o', object],
    ]);
  }
}

function buildAddon() {
  const addon = at('node-agent/native/build/Release/serval.node');
  const shared = ['serval_abi.h', 'lib/hash.h'].map((name) => at('node-agent/bpf', name));
  if (!isOlder(addon, at('node-agent/native'), ...shared)) return;
  say('native addon');
  const gyp = at('node_modules/node-gyp/bin/node-gyp.js');
  const words = ['configure', 'build', '--nodedir=/usr', '--silent', '-j', 'max'];
  run(at('node_modules/.bin/node'), [gyp, ...words], { cwd: at('node-agent/native') });
}

try {
  buildObjects();
  buildAddon();
} catch (error) {
  if (!(error instanceof Unable)) throw error;
  console.error(`build-native: ${error.message}`);
  process.exit(1);
}
