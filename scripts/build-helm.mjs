/**
 * Build Helm from the Go module proxy: the version and the sums are in e2e/helm/go.mod and go.sum. It goes to a folder of the
 * user's cache named by the version; one that is there already is not built again. The last line of standard output is that
 * folder.
 *
 * usage: build-helm.mjs [--find] [--help]
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fromGoMod, goPrograms, Unable } from './go-programs.mjs';

const folder = join(new URL('..', import.meta.url).pathname, 'e2e/helm');

const help = `usage: node scripts/build-helm.mjs [--find]

  --find  build nothing: fail where it is missing
  --help  this text

Environment: GO names the go command (default: in PATH, else /usr/local/go/bin/go); XDG_CACHE_HOME (default ~/.cache) has
helm afterwards, in serval/helm/VERSION.

Exit codes: 0 it is there, 1 it says what is missing and what to do, 2 wrong usage.`;

function readArguments() {
  try {
    return parseArgs({ options: { find: { type: 'boolean' }, help: { type: 'boolean' } } }).values;
  } catch (error) {
    console.error(`build-helm: ${error.message}\n\n${help}`);
    process.exit(2);
  }
}

/** As Helm's Makefile has it: what `helm version` says, and which Kubernetes `helm template` and `lint` take for granted. */
function ldflags(version) {
  const minor = fromGoMod(folder, /k8s\.io\/client-go v0\.(\d+)\./);
  const kubernetes = ['pkg/lint/rules', 'pkg/chartutil'].flatMap((name) => [
    `-X helm.sh/helm/v3/${name}.k8sVersionMajor=1`,
    `-X helm.sh/helm/v3/${name}.k8sVersionMinor=${minor}`,
  ]);
  return ['-s', '-w', `-X helm.sh/helm/v3/internal/version.version=v${version}`, ...kubernetes].join(' ');
}

function main() {
  const values = readArguments();
  if (values.help) return console.log(help);
  const module = {
    name: 'helm',
    folder,
    script: 'build-helm.mjs',
    ldflags,
    say: (line) => console.error(`build-helm: ${line}`),
  };
  const helm = { name: 'helm', package: 'helm.sh/helm/v3/cmd/helm', expect: 'two minutes with two cores' };
  console.log(goPrograms(module, fromGoMod(folder, /helm\.sh\/helm\/v3 v(\S+)/), [helm], values.find));
}

try {
  main();
} catch (error) {
  if (!(error instanceof Unable)) throw error;
  console.error(`build-helm: ${error.message}`);
  process.exit(1);
}
