/**
 * Build Kubernetes' own programs from the Go module proxy: the version and the sums are in e2e/kubernetes/go.mod and go.sum.
 * They go to a folder of the user's cache named by the version; what is there already is not built again. The last line
 * of standard output is that folder.
 *
 * usage: build-kubernetes.mjs [--only kube-proxy,kube-apiserver] [--find] [--help]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const root = new URL('..', import.meta.url).pathname;
const moduleFolder = join(root, 'e2e/kubernetes');
const programs = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy', 'kubelet'];

const help = `usage: node scripts/build-kubernetes.mjs [--only NAMES] [--find]

  --only NAMES  some of ${programs.join(',')}; default: all
  --find        build nothing: fail where one of them is missing
  --help        this text

Environment: GO names the go command (default: in PATH, else /usr/local/go/bin/go); XDG_CACHE_HOME (default ~/.cache) has
the programs afterwards, in serval/kubernetes/VERSION.

Exit codes: 0 they are there, 1 it says what is missing and what to do, 2 wrong usage.`;

class Unable extends Error {}

const say = (line) => console.error(`build-kubernetes: ${line}`);

function readArguments() {
  try {
    return parseArgs({
      options: { only: { type: 'string' }, find: { type: 'boolean' }, help: { type: 'boolean' } },
    }).values;
  } catch (error) {
    console.error(`build-kubernetes: ${error.message}\n\n${help}`);
    process.exit(2);
  }
}

function chosen(only) {
  if (only === undefined) return programs;
  const names = only.split(',');
  const odd = names.find((name) => !programs.includes(name));
  if (odd === undefined) return names;
  console.error(`build-kubernetes: --only knows ${programs.join(', ')}, not "${odd}"\n\n${help}`);
  process.exit(2);
}

function goMod(pattern) {
  const found = pattern.exec(readFileSync(join(moduleFolder, 'go.mod'), 'utf8'))?.[1];
  if (found === undefined)
    throw new Unable(`${moduleFolder}/go.mod can not be read. Take it from the repository.`);
  return found;
}

/** The go command, new enough or able to fetch a newer one of its own. */
function findGo() {
  const wanted = goMod(/^go (\S+)$/m);
  const candidates = [process.env.GO, 'go', '/usr/local/go/bin/go'].filter(Boolean);
  for (const go of candidates) {
    // The module's `go` line makes a go of 1.21 or later fetch that version where it is older.
    const { status, stdout } = spawnSync(go, ['env', 'GOVERSION'], { cwd: moduleFolder, encoding: 'utf8' });
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

function build(go, names, version, folder) {
  mkdirSync(folder, { recursive: true });
  // Beside its place, so that the last step is a rename and nobody starts half a program.
  const work = mkdtempSync(join(folder, '.building-'));
  try {
    for (const name of names) {
      say(`${name} ${version}: some minutes with two cores, less for those that come later`);
      const flags = `-s -w -X k8s.io/component-base/version.gitVersion=v${version}`;
      const args = [
        'build',
        '-tags',
        'providerless',
        '-ldflags',
        flags,
        '-o',
        work,
        `k8s.io/kubernetes/cmd/${name}`,
      ];
      const { status, signal } = spawnSync('nice', ['-n', '19', go, ...args], {
        cwd: moduleFolder,
        env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly' },
        stdio: ['ignore', 2, 2],
      });
      if (status !== 0)
        throw new Unable(
          `go build of ${name} ended with ${status ?? signal}. See what it says above, then run this again.`,
        );
      renameSync(join(work, name), join(folder, name));
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function main() {
  const values = readArguments();
  if (values.help) return console.log(help);
  const names = chosen(values.only);
  const version = goMod(/k8s\.io\/kubernetes v(\S+)/);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const folder = join(cache, 'serval/kubernetes', version);
  const missing = names.filter((name) => !existsSync(join(folder, name)));
  if (missing.length > 0 && values.find)
    throw new Unable(
      `${folder} lacks ${missing.join(', ')}. Build it: node scripts/build-kubernetes.mjs --only ${names.join(',')}`,
    );
  if (missing.length > 0) build(findGo(), missing, version, folder);
  console.log(folder);
}

try {
  main();
} catch (error) {
  if (!(error instanceof Unable)) throw error;
  console.error(`build-kubernetes: ${error.message}`);
  process.exit(1);
}
