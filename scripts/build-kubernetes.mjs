/**
 * Build Kubernetes' own programs from the Go module proxy: the version and the sums are in e2e/kubernetes/go.mod and go.sum.
 * They go to a folder of the user's cache named by the version; what is there already is not built again. The last line
 * of standard output is that folder.
 *
 * usage: build-kubernetes.mjs [--only kube-proxy,kube-apiserver] [--find] [--help]
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fromGoMod, goPrograms, Unable } from './go-programs.mjs';

const folder = join(new URL('..', import.meta.url).pathname, 'e2e/kubernetes');
const programs = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'kubectl',
  'kubelet',
];

const help = `usage: node scripts/build-kubernetes.mjs [--only NAMES] [--find]

  --only NAMES  some of ${programs.join(',')}; default: all
  --find        build nothing: fail where one of them is missing
  --help        this text

Environment: GO names the go command (default: in PATH, else /usr/local/go/bin/go); XDG_CACHE_HOME (default ~/.cache) has
the programs afterwards, in serval/kubernetes/VERSION.

Exit codes: 0 they are there, 1 it says what is missing and what to do, 2 wrong usage.`;

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

function main() {
  const values = readArguments();
  if (values.help) return console.log(help);
  const names = chosen(values.only);
  const module = {
    name: 'kubernetes',
    folder,
    script: `build-kubernetes.mjs --only ${names.join(',')}`,
    tags: ['providerless'],
    ldflags: (version) => `-s -w -X k8s.io/component-base/version.gitVersion=v${version}`,
    say: (line) => console.error(`build-kubernetes: ${line}`),
  };
  const wanted = names.map((name) => ({
    name,
    package: `k8s.io/kubernetes/cmd/${name}`,
    expect: 'some minutes with two cores, less for those that come later',
  }));
  const version = fromGoMod(folder, /k8s\.io\/kubernetes v(\S+)/);
  console.log(goPrograms(module, version, wanted, values.find));
}

try {
  main();
} catch (error) {
  if (!(error instanceof Unable)) throw error;
  console.error(`build-kubernetes: ${error.message}`);
  process.exit(1);
}
