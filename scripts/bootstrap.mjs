/**
 * Install and build what is missing, and nothing else: Debian packages, npm packages, BPF objects, the native addon,
 * TypeScript; for the demo also CRIU and a program in Go that serves and connects; for the tests one in Java, the guest
 * kernel, Kubernetes' API server and controller manager, Helm, and our images. Idempotent; says what it does; runs on any Node
 * from 18 on, because it is what brings the right one.
 *
 * usage: bootstrap.mjs [--for build|demo|test|bench] [--quiet] [--help]
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { at, isOlder, root, run, Unable } from './commands.mjs';

/** Debian packages by the command or file that tells whether they are there, or by a function that looks closer. */
const debian = {
  build: {
    'clang-14': ['/usr/bin/clang-14'],
    'libbpf-dev': ['/usr/include/bpf/libbpf.h'],
    bpftool: ['/usr/sbin/bpftool'],
    'pkg-config': ['/usr/bin/pkg-config'],
    make: ['/usr/bin/make'],
    'g++': ['/usr/bin/g++'],
    python3: ['/usr/bin/python3'],
    'linux-libc-dev': ['/usr/include/linux/bpf.h'],
    'libnode-dev': ['/usr/include/node/node_api.h'],
    iproute2: ['/usr/sbin/ip', '/sbin/ip'],
    'util-linux': ['/usr/bin/nsenter'],
    procps: ['/usr/sbin/sysctl', '/sbin/sysctl'],
  },
  demo: {
    'redis-server': ['/usr/bin/redis-server'],
    tcpdump: ['/usr/bin/tcpdump', '/usr/sbin/tcpdump'],
    'iputils-ping': ['/usr/bin/ping', '/bin/ping'],
    nftables: ['/usr/sbin/nft'],
    'golang-go': () => findGo() !== undefined,
  },
  bench: {
    iperf3: ['/usr/bin/iperf3'],
    nftables: ['/usr/sbin/nft'],
    iptables: ['/usr/sbin/iptables', '/sbin/iptables'],
    'etcd-server': ['/usr/bin/etcd'],
    gcc: ['/usr/bin/gcc'],
  },
  test: {
    'redis-tools': ['/usr/bin/redis-cli'],
    iperf3: ['/usr/bin/iperf3'],
    'qemu-system-x86': ['/usr/bin/qemu-system-x86_64'],
    'busybox-static': ['/bin/busybox', '/usr/bin/busybox'],
    cpio: ['/usr/bin/cpio', '/bin/cpio'],
    e2fsprogs: ['/usr/sbin/mke2fs', '/sbin/mke2fs'],
    kmod: ['/usr/sbin/modprobe', '/sbin/modprobe'],
    spin: ['/usr/bin/spin'],
    gcc: ['/usr/bin/gcc'],
    openssl: ['/usr/bin/openssl'],
    curl: ['/usr/bin/curl'],
    'bind9-dnsutils': ['/usr/bin/dig'],
    'dnsmasq-base': ['/usr/sbin/dnsmasq'],
    'nginx-light': ['/usr/sbin/nginx'],
    postgresql: hasPostgres,
    'postgresql-client': ['/usr/bin/psql'],
    'default-jdk-headless': ['/usr/bin/javac'],
    buildah: ['/usr/bin/buildah'],
    mmdebstrap: ['/usr/bin/mmdebstrap'],
    runc: ['/usr/sbin/runc', '/usr/bin/runc'],
  },
};
/** What each purpose takes in beside itself. */
const includes = {
  build: ['build'],
  demo: ['build', 'demo'],
  bench: ['build', 'demo', 'bench'],
  test: ['build', 'demo', 'bench', 'test'],
};

const quiet = process.argv.includes('--quiet');
const say = (line) => quiet || console.log(`bootstrap: ${line}`);

/** Debian keeps its servers apart by version, off the PATH. */
function hasPostgres() {
  const versions = '/usr/lib/postgresql';
  return (
    existsSync(versions) &&
    readdirSync(versions).some((version) => existsSync(join(versions, version, 'bin/initdb')))
  );
}

/** A Go that can build e2e/src/clients/go: 1.19, which is bookworm's, or later. */
function findGo() {
  const folders = (process.env.PATH ?? '').split(':');
  return [...folders, '/usr/local/go/bin', '/usr/bin']
    .map((folder) => join(folder, 'go'))
    .filter((file) => existsSync(file))
    .find((file) => {
      const { stdout } = spawnSync(file, ['version'], { encoding: 'utf8', env: goEnvironment() });
      const [, major, minor] = /go(\d+)\.(\d+)/.exec(stdout ?? '') ?? [];
      return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 19);
    });
}

/** Static, of nothing but the standard library, by the Go that is there. */
const goEnvironment = () => ({
  ...process.env,
  HOME: process.env.HOME ?? '/root', // its build cache is there
  ...{ CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOPROXY: 'off', GOFLAGS: '', GOWORK: 'off' },
});

function checkMachine() {
  if (process.platform !== 'linux')
    throw new Unable(`This is ${process.platform}; the data plane is Linux. Use a Linux machine.`);
  if (process.getuid() !== 0)
    throw new Unable('Not root. Run it as root: the data plane, the network namespaces and CRIU need it.');
  if (!existsSync('/sys/kernel/btf/vmlinux'))
    throw new Unable(
      'The kernel shows no type information (/sys/kernel/btf/vmlinux). Use a kernel with CONFIG_DEBUG_INFO_BTF, as Debian has since 5.10.',
    );
  const [major, minor] = readFileSync('/proc/sys/kernel/osrelease', 'utf8')
    .split('.')
    .map((part) => parseInt(part, 10));
  if (major < 5 || (major === 5 && minor < 15))
    throw new Unable(`The kernel is ${major}.${minor}; 5.15 or later is needed. Upgrade it.`);
}

function installDebian(purposes) {
  const missing = purposes
    .flatMap((purpose) => Object.entries(debian[purpose]))
    .filter(([, found]) => !(typeof found === 'function' ? found() : found.some((file) => existsSync(file))))
    .map(([name]) => name);
  if (missing.length === 0) return;
  if (!existsSync('/usr/bin/apt-get'))
    throw new Unable(`Missing: ${missing.join(', ')}, and there is no apt-get. Install them by hand.`);
  say(`Debian packages: ${missing.join(' ')}`);
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-qq'], { env: environment });
  // A server's package would start it: the policy script says no while we install.
  const policy = '/usr/sbin/policy-rc.d';
  const guarded = !existsSync(policy);
  if (guarded)
    execFileSync('sh', ['-c', `printf '#!/bin/sh\\nexit 101\\n' > ${policy} && chmod 755 ${policy}`]);
  try {
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], { env: environment });
  } finally {
    if (guarded) execFileSync('rm', ['-f', policy]);
  }
}

function installNpm() {
  const stamp = at('node_modules', '.package-lock.json');
  if (!isOlder(stamp, at('package-lock.json'))) return;
  try {
    accessSync(root, constants.W_OK);
  } catch {
    throw new Unable(`${root} can not be written. Give this user the folder, or clone it elsewhere.`);
  }
  say('npm packages (Node 24 among them)');
  // Not `npm ci`: it refuses a lock that lacks the optional packages of other platforms, which a mirror may not carry.
  // The lock's versions hold all the same; allowScripts in package.json names the install scripts that may run.
  run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error']);
  run('touch', [stamp]);
}

/** What the agent loads: seconds after a change, else nothing. */
function buildNative() {
  const options = { stdio: ['ignore', quiet ? 'pipe' : 'inherit', 'pipe'] };
  run(at('node_modules/.bin/node'), [at('scripts/build-native.mjs')], options);
}

function buildTypeScript() {
  run(at('node_modules/.bin/node'), [at('node_modules/typescript/bin/tsc'), '--build', root]);
}

/** Replicas and clients of the demo and the tests, in Go. */
function buildWho() {
  const who = { source: at('e2e/src/clients/go'), binary: at('e2e/build/who') };
  if (!isOlder(who.binary, who.source)) return;
  const go = findGo();
  if (go === undefined) throw new Unable('No Go of version 1.19 or later. Put one in /usr/local/go.');
  say(`Go program ${relative(root, who.binary)}`);
  const args = ['build', '-trimpath', '-ldflags', '-s -w', '-o', who.binary, '.'];
  run(go, args, { cwd: who.source, env: goEnvironment() });
}

/** A client of the tests, in Java. */
function buildJavaClient() {
  const java = { source: at('e2e/src/clients/java/WhoClient.java'), folder: at('e2e/build/java') };
  if (!isOlder(join(java.folder, 'WhoClient.class'), java.source)) return;
  say(`Java program ${relative(root, java.folder)}`);
  run('/usr/bin/javac', ['--release', '11', '-d', java.folder, java.source]);
}

/** For the tests, into the user's cache, where others may have put them. @param script builds, or with --find looks */
function buildCached(what, script, ...args) {
  const command = [at('scripts', script), ...args];
  // What go says is progress: it takes minutes, once.
  const options = {
    env: { HOME: '/root', ...process.env },
    stdio: ['ignore', 'pipe', quiet ? 'pipe' : 'inherit'],
  };
  if (spawnSync(process.execPath, [...command, '--find'], { env: options.env }).status === 0) return;
  say(`${what}, once`);
  run(process.execPath, command, options);
}

/** The tests' control plane. */
function buildKubernetes() {
  const what = "Kubernetes' API server, controller manager, scheduler and kubectl: ten minutes at most";
  const names = 'kube-apiserver,kube-controller-manager,kube-scheduler,kubectl';
  buildCached(what, 'build-kubernetes.mjs', '--only', names);
}

/** What installs our chart there. */
function buildHelm() {
  buildCached('Helm: three minutes at most', 'build-helm.mjs');
}

/** What the tests start as a kubelet would; of these sources, so that a changed one makes new images: half a minute then. */
function buildImages() {
  buildCached('Images of the operator and the agent: five minutes the first time', 'build-images.mjs');
}

function installCriu() {
  const output = run('sh', [at('scripts/install-criu.sh')]).trim();
  if (output !== '') say(output.split('\n').at(-1));
}

const help = `usage: node scripts/bootstrap.mjs [--for build|demo|test|bench] [--quiet]

Installs what is missing for the purpose (default: test) and builds the project. Needs root and Debian's apt-get.
Exit codes: 0 ready, 1 it says what is missing and what to do, 2 wrong usage.`;

function main() {
  if (process.argv.includes('--help')) return console.log(help);
  const flag = process.argv.indexOf('--for');
  const purpose = flag < 0 ? 'test' : process.argv[flag + 1];
  const purposes = includes[purpose];
  if (purposes === undefined) {
    console.error(help);
    process.exit(2);
  }
  checkMachine();
  installDebian(purposes);
  installNpm();
  buildNative();
  buildTypeScript();
  if (purposes.includes('demo')) {
    installCriu();
    buildWho();
  }
  if (purposes.includes('test')) {
    buildJavaClient();
    buildKubernetes();
    buildHelm();
    buildImages();
  }
  say(`ready for ${purpose}`);
}

try {
  main();
} catch (error) {
  if (!(error instanceof Unable)) throw error;
  console.error(`bootstrap: ${error.message}`);
  process.exit(1);
}
