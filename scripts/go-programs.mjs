/**
 * Programs of others, built from the Go module proxy into the user's cache: which, and of what sums, a go.mod and go.sum of
 * e2e/ say. What is there already is not built again. The scripts that use this say what and why.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** What somebody has to do first; for people, without a stack. */
export class Unable extends Error {}

/**
 * @typedef {object} Module
 * @property {string} name of the folder in the cache
 * @property {string} folder where its go.mod is
 * @property {string} script to be named in remedies, with the arguments that make it build these
 * @property {(version: string) => string} ldflags
 * @property {string[]} [tags]
 * @property {(line: string) => void} say
 */

/** The first group of this pattern in the module's go.mod. */
export function fromGoMod(folder, pattern) {
  const file = join(folder, 'go.mod');
  const found = existsSync(file) ? pattern.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
  if (found === undefined) throw new Unable(`${file} can not be read. Take it from the repository.`);
  return found;
}

/**
 * Builds those that are missing, or with `find` fails where there are some.
 * @param {Module} module
 * @param {Array<{ name: string, package: string, expect: string }>} programs `expect`: how long it takes
 * @returns {string} the folder that has them, named by the version
 */
export function goPrograms(module, version, programs, find) {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const folder = join(cache, 'serval', module.name, version);
  const missing = programs.filter(({ name }) => !existsSync(join(folder, name)));
  if (missing.length > 0 && find) {
    const names = missing.map(({ name }) => name).join(', ');
    throw new Unable(`${folder} lacks ${names}. Build it: node scripts/${module.script}`);
  }
  if (missing.length > 0) build(module, version, missing, folder);
  return folder;
}

function build(module, version, programs, folder) {
  const go = findGo(module.folder);
  mkdirSync(folder, { recursive: true });
  // Beside its place, so that the last step is a rename and nobody starts half a program.
  const work = mkdtempSync(join(folder, '.building-'));
  try {
    for (const program of programs) {
      module.say(`${program.name} ${version}: ${program.expect}`);
      compile(go, module, version, program, work);
      renameSync(join(work, program.name), join(folder, program.name));
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function compile(go, { folder, ldflags, tags = [] }, version, program, work) {
  const args = ['build', '-tags', tags.join(','), '-ldflags', ldflags(version), '-o', work, program.package];
  const { status, signal } = spawnSync('nice', ['-n', '19', go, ...args], {
    cwd: folder,
    env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly' },
    stdio: ['ignore', 2, 2],
  });
  if (status === 0) return;
  throw new Unable(
    `go build of ${program.name} ended with ${status ?? signal}. See what it says above, then run this again.`,
  );
}

/** The go command, new enough or able to fetch a newer one of its own. */
function findGo(folder) {
  const wanted = fromGoMod(folder, /^go (\S+)$/m);
  const candidates = [process.env.GO, 'go', '/usr/local/go/bin/go'].filter(Boolean);
  for (const go of candidates) {
    // The module's `go` line makes a go of 1.21 or later fetch that version where it is older.
    const { status, stdout } = spawnSync(go, ['env', 'GOVERSION'], { cwd: folder, encoding: 'utf8' });
    if (status === 0 && isAtLeast(stdout.trim().replace(/^go/, ''), wanted)) return go;
  }
  throw new Unable(
    `There is no Go ${wanted} or later. Install it (1.21 or later fetches the right one by itself), or name it: GO=/path/to/go.`,
  );
}

function isAtLeast(version, wanted) {
  const [a, b] = [version, wanted].map((text) => text.split('.').map((part) => parseInt(part, 10)));
  for (let i = 0; i < b.length; i++) if ((a[i] || 0) !== b[i]) return (a[i] || 0) > b[i];
  return true;
}
