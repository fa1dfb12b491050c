/**
 * What the guest runs from: a read-only disk that never changes (Node, iproute2, their libraries, kernel modules) and
 * an initrd made for each run (busybox, init, the caller's files), which is the writable root.
 *
 * Measured under TCG with two virtual CPUs on a two-core host at load 1 to 2, launch to init / to Node's first line,
 * medians of five boots, mitigations=off: everything in one uncompressed initrd 5.4 s / 6.8 s; Node on an ext4 NVMe disk 3.1 s / 5.2 s
 * (and the initrd by gzip -1, one boot: 8.6 s / 10.4 s). TCG makes copying and inflating 118 MB dearer than reading
 * the touched pages through NVMe, whose driver is built into Debian's cloud kernel (virtio-blk is a module). A larger
 * read-ahead, or reading Node ahead in the background, gave nothing.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  constants,
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  truncate,
  utimes,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, posix } from 'node:path';
import { ServalError } from '@serval/api';
import { cacheFolder, output } from './command.js';
import { CpioArchive } from './cpio.js';
import { initScript, shellWords } from './init.js';
import type { GuestKernel, Progress } from './kernel.js';

/** Raise it when the making of the disk changes. */
const diskFormat = '2';
const diskPrefix = 'guest-disk-';
const diskBytes = 320 << 20;
const staleMs = 7 * 24 * 3600 * 1000;
const busybox = '/bin/busybox';

/** Whole folders, so that the kernel finds by itself what a test asks for; with what these depend on, 527 modules, 27 MB. */
const moduleFolders = ['kernel/net/', 'kernel/drivers/net/veth.ko', 'kernel/drivers/net/tun.ko'].concat(
  ['dummy', 'vxlan', 'macvlan', 'ipvlan', 'ifb'].map((name) => `kernel/drivers/net/${name}`),
  ['kernel/fs/overlayfs/', 'kernel/crypto/'],
);

/**
 * The host's own programs that the guest has, and their packages. dash and those that start another program are here
 * because busybox's take an applet before anything in PATH: `ip` in its shell is busybox's ip.
 */
const hostPrograms: Readonly<Record<string, string>> = {
  '/usr/sbin/ip': 'iproute2',
  '/usr/sbin/tc': 'iproute2',
  '/usr/bin/dash': 'dash',
  '/usr/bin/env': 'coreutils',
  '/usr/bin/timeout': 'coreutils',
  '/usr/bin/nsenter': 'util-linux',
  '/usr/bin/unshare': 'util-linux',
  '/usr/bin/setsid': 'util-linux',
};

/** Folders that the disk or the kernel gives the guest: a file put there would be hidden. */
const reserved = ['base', 'bin', 'dev', 'job', 'lib', 'lib64', 'proc', 'run', 'sbin', 'sys', 'tmp', 'usr'];

export interface GuestDisk {
  path: string;
  /** libraries of the host that lie on it */
  libraries: ReadonlySet<string>;
}

/** The disk for this kernel and these versions of Node and iproute2: made on the first call (3.6 s on a busy host). */
export async function guestDisk(
  kernel: GuestKernel,
  onProgress: Progress = () => undefined,
): Promise<GuestDisk> {
  const programs = new Map([['/usr/bin/node', await nodeBinary()]]);
  for (const [path, debianPackage] of Object.entries(hostPrograms)) {
    programs.set(path, await hostProgram(posix.basename(path), debianPackage));
  }
  const libraries = new Set<string>();
  for (const path of programs.values()) for (const library of await librariesOf(path)) libraries.add(library);
  const files = new Map([...programs, ...[...libraries].map((path): [string, string] => [path, path])]);
  const path = join(cacheFolder(), `${diskPrefix}${await fingerprint(kernel, files)}.ext4`);
  if (existsSync(path)) await utimes(path, new Date(), new Date());
  else await makeDisk(path, kernel, files, onProgress);
  return { path, libraries };
}

async function nodeBinary(): Promise<string> {
  const manifest = createRequire(import.meta.url).resolve('node/package.json');
  return realpath(join(dirname(manifest), 'bin/node'));
}

async function hostProgram(name: string, debianPackage: string): Promise<string> {
  for (const folder of ['/usr/sbin', '/usr/bin', '/sbin', '/bin']) {
    if (existsSync(join(folder, name))) return realpath(join(folder, name));
  }
  throw new ServalError('ERR_NOT_FOUND', {
    subject: name,
    reason: 'the host does not have it, and the guest is made of the host’s programs',
    remedy: `Run \`apt-get install ${debianPackage}\` as root`,
  });
}

/** Paths of the shared libraries that a program or addon of the host loads, its loader included. */
async function librariesOf(path: string): Promise<string[]> {
  const text = await output('ldd', [path], 'See that it is made for this machine, or link it statically');
  const missing = /(\S+) => not found/.exec(text)?.[1];
  if (missing !== undefined) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: path,
      reason: `its library ${missing} is not on this host`,
      remedy: 'Install the Debian package that has the library',
    });
  }
  return [...text.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map((match) => match[1] ?? '');
}

async function fingerprint(kernel: GuestKernel, files: ReadonlyMap<string, string>): Promise<string> {
  const hash = createHash('sha256').update(`${diskFormat} ${kernel.version} ${kernel.release}`);
  for (const [guestPath, path] of files) {
    const { size, mtimeMs } = await stat(path);
    hash.update(`\n${guestPath} ${path} ${size} ${mtimeMs}`);
  }
  return hash.digest('hex').slice(0, 16);
}

async function makeDisk(
  path: string,
  kernel: GuestKernel,
  files: ReadonlyMap<string, string>,
  onProgress: Progress,
): Promise<void> {
  onProgress(`making the guest's disk ${path}`);
  const work = await mkdtemp(join(cacheFolder(), 'making-'));
  try {
    const root = join(work, 'root');
    for (const [guestPath, hostPath] of files) {
      await mkdir(join(root, dirname(guestPath)), { recursive: true });
      await copyFile(hostPath, join(root, guestPath), constants.COPYFILE_FICLONE);
    }
    await copyModules(kernel, root);
    const disk = join(work, 'disk');
    await (await open(disk, 'w')).close();
    await truncate(disk, diskBytes);
    const format = [
      '-q',
      '-F',
      '-t',
      'ext4',
      '-b',
      '4096',
      '-m',
      '0',
      '-O',
      '^has_journal',
      '-d',
      root,
      disk,
    ];
    await output('/sbin/mke2fs', format, 'Install e2fsprogs and see that the disk has 400 MB free');
    await rename(disk, path);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  await removeStaleDisks();
}

/** The chosen modules with all that they need, and the indexes by which the guest's modprobe finds them. */
async function copyModules(kernel: GuestKernel, root: string): Promise<void> {
  const all = await allModules(kernel.modules);
  const byName = new Map(all.map((path) => [moduleName(path), path]));
  const wanted = all.filter((path) => moduleFolders.some((folder) => path.startsWith(folder)));
  const target = join(root, 'lib/modules', kernel.release);
  for (const taken = new Set<string>(); wanted.length > 0;) {
    const path = wanted.pop() ?? '';
    if (taken.has(path)) continue;
    taken.add(path);
    const source = join(kernel.modules, path);
    await mkdir(join(target, dirname(path)), { recursive: true });
    await copyFile(source, join(target, path), constants.COPYFILE_FICLONE);
    const depends = await dependencies(source);
    wanted.push(...depends.flatMap((name) => byName.get(name) ?? []));
  }
  await output(busybox, ['depmod', '-b', root, kernel.release], 'Install busybox-static');
}

async function allModules(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true });
  return entries.filter((entry) => entry.endsWith('.ko'));
}

function moduleName(path: string): string {
  return posix.basename(path, '.ko').replaceAll('-', '_');
}

/** Names in the `depends=` line of a module's .modinfo section. */
async function dependencies(path: string): Promise<string[]> {
  const names = /\0depends=([^\0]*)\0/.exec((await readFile(path)).toString('latin1'))?.[1] ?? '';
  return names.split(',').flatMap((name) => (name === '' ? [] : name.replaceAll('-', '_')));
}

async function removeStaleDisks(): Promise<void> {
  for (const name of await readdir(cacheFolder())) {
    const path = join(cacheFolder(), name);
    if (!name.startsWith(diskPrefix)) continue;
    if (Date.now() - (await stat(path)).mtimeMs > staleMs) await rm(path, { force: true });
  }
}

/** The initrd of one run: busybox, init, the command and the caller's files with libraries the disk lacks. */
export async function guestInitrd(
  disk: GuestDisk,
  files: Readonly<Record<string, string>>,
  command: readonly string[],
): Promise<Buffer> {
  const archive = new CpioArchive();
  await addBusybox(archive);
  for (const folder of ['base', 'dev', 'proc', 'sys', 'run', 'tmp', 'root', 'job/lib'])
    archive.folder(folder);
  for (const name of ['usr', 'lib', 'lib64']) archive.symlink(name, `base/${name}`);
  archive.file('etc/hosts', Buffer.from('127.0.0.1 localhost\n::1 localhost\n'), 0o644);
  archive.file('init', Buffer.from(initScript), 0o755);
  archive.file('job/command', Buffer.from(`exec ${shellWords(command)}\n`), 0o644);
  const libraries = new Set<string>();
  for (const [guestPath, hostPath] of Object.entries(files)) {
    const added = await addTree(archive, checkedGuestPath(guestPath), hostPath);
    for (const library of added) if (!disk.libraries.has(library)) libraries.add(library);
  }
  for (const path of libraries) {
    archive.file(`job/lib/${posix.basename(path)}`, await readFile(path), 0o755);
  }
  return archive.finish();
}

async function addBusybox(archive: CpioArchive): Promise<void> {
  const remedy = 'Run `apt-get install busybox-static` as root';
  const applets = await output(busybox, ['--list'], remedy);
  archive.file('bin/busybox', await readFile(busybox), 0o755);
  for (const name of applets.trim().split('\n')) {
    if (name !== 'busybox' && name !== 'sh') archive.symlink(`bin/${name}`, 'busybox');
  }
  archive.symlink('bin/sh', '../usr/bin/dash');
  archive.symlink('sbin', 'bin');
}

function checkedGuestPath(path: string): string {
  const first = path.split('/')[1] ?? '';
  const usable = posix.isAbsolute(path) && posix.normalize(path) === path && first !== '';
  if (usable && !reserved.includes(first)) return path;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `guest path ${path}`,
    reason: 'a file can not be put there',
    remedy: `Take an absolute path outside ${reserved.map((name) => `/${name}`).join(', ')}, e.g. /test/main.mjs`,
  });
}

/** Add a file or a folder with all in it; gives the shared libraries that its programs and addons load. */
async function addTree(archive: CpioArchive, guestPath: string, hostPath: string): Promise<string[]> {
  const about = await stat(hostPath).catch((cause: unknown) => {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: hostPath,
      reason: `it does not exist, and the guest was to have it as ${guestPath}`,
      remedy: 'Build it first (`npm run build`), or correct the path',
      cause,
    });
  });
  if (!about.isDirectory()) {
    archive.file(guestPath, await readFile(hostPath), about.mode);
    return (await loadsLibraries(hostPath)) ? librariesOf(hostPath) : [];
  }
  archive.folder(guestPath);
  const libraries: string[] = [];
  for (const name of (await readdir(hostPath)).sort()) {
    libraries.push(...(await addTree(archive, posix.join(guestPath, name), join(hostPath, name))));
  }
  return libraries;
}

/** True for a dynamically linked x86-64 ELF file; BPF objects are ELF of another machine. */
async function loadsLibraries(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const head = Buffer.alloc(8192);
    await file.read(head, 0, head.length, 0);
    const elf = head.readUInt32BE(0) === 0x7f454c46 && head.readUInt16LE(18) === 0x3e;
    return elf && hasDynamicSegment(head);
  } finally {
    await file.close();
  }
}

function hasDynamicSegment(head: Buffer): boolean {
  const start = Number(head.readBigUInt64LE(32));
  const [size, count] = [head.readUInt16LE(54), head.readUInt16LE(56)];
  for (let at = start; at < start + size * count && at + 4 <= head.length; at += size) {
    if (head.readUInt32LE(at) === 2) return true;
  }
  return false;
}
