/**
 * Debian bookworm's cloud kernel (6.1): unpacked in the cache, never installed. It is the kernel before TCX, with
 * BTF, and with NVMe and ext4 built in, so that a guest needs no module to find its disk.
 */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { cacheFolder, output } from './command.js';

const metapackage = 'linux-image-cloud-amd64';
const wantedSeries = '6.1.';
const prefix = 'guest-kernel-';
const aptRemedy = 'Run `apt-get update` as root and see that the configured Debian mirror can be reached';

export interface GuestKernel {
  /** version of the Debian package, e.g. `6.1.192-2` */
  version: string;
  /** what `uname -r` says in the guest */
  release: string;
  /** the compressed kernel that QEMU starts */
  image: string;
  /** the folder `lib/modules/<release>` of the package */
  modules: string;
}

export type Progress = (line: string) => void;

let known: Promise<GuestKernel> | undefined;

/** The guest's kernel: downloaded and unpacked on the first call, afterwards found in the cache. */
export function guestKernel(onProgress: Progress = () => undefined): Promise<GuestKernel> {
  known ??= obtain(onProgress).catch((failure: unknown) => {
    known = undefined;
    throw failure;
  });
  return known;
}

async function obtain(onProgress: Progress): Promise<GuestKernel> {
  const found = await resolvePackage().catch((failure: unknown) => failure);
  if (found instanceof Error) {
    const cached = await newestCached();
    if (cached === undefined) throw found;
    onProgress(`apt gives no kernel package; taking ${cached.version} from the cache`);
    return cached;
  }
  const { name, version } = found as { name: string; version: string };
  const folder = join(cacheFolder(), prefix + version);
  if (!existsSync(folder)) await unpack(name, version, folder, onProgress);
  return describe(folder);
}

/** The package behind the metapackage: its name carries the kernel's ABI number, so nobody can write it down here. */
async function resolvePackage(): Promise<{ name: string; version: string }> {
  const about = await output('apt-cache', ['show', '--no-all-versions', metapackage], aptRemedy);
  const dependency = /^Depends: (linux-image-\S+) \(= (\d\S*)\)$/m.exec(about);
  const [, name, version] = dependency ?? [];
  if (name === undefined || version === undefined) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `Debian package ${name ?? metapackage}`,
      reason: 'apt knows no version of it',
      remedy: aptRemedy,
    });
  }
  if (!version.startsWith(wantedSeries)) {
    throw new ServalError('ERR_UNSUPPORTED', {
      subject: `Debian package ${name}`,
      reason: `its version is ${version}, and the guest is meant to be a kernel ${wantedSeries}x`,
      remedy: 'Run it on Debian bookworm, or add a bookworm source to apt',
    });
  }
  return { name, version };
}

async function unpack(name: string, version: string, folder: string, onProgress: Progress): Promise<void> {
  await mkdir(cacheFolder(), { recursive: true });
  const work = await mkdtemp(join(cacheFolder(), 'unpacking-'));
  try {
    onProgress(`downloading ${name} ${version}`);
    const download = ['-q', '-o', 'APT::Sandbox::User=root', 'download', `${name}=${version}`];
    await output('apt-get', download, aptRemedy, work);
    const [archive] = (await readdir(work)).filter((file) => file.endsWith('.deb'));
    onProgress(`unpacking ${archive ?? name}`);
    await output(
      'dpkg',
      ['-x', join(work, archive ?? ''), join(work, 'root')],
      'See that the disk has 150 MB free',
    );
    await rename(join(work, 'root'), folder).catch((failure: unknown) => {
      // somebody else was quicker: theirs is as good
      if (!existsSync(folder)) throw failure;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function describe(folder: string): Promise<GuestKernel> {
  const [release] = await readdir(join(folder, 'lib/modules')).catch(() => []);
  const image = join(folder, `boot/vmlinuz-${release}`);
  if (release === undefined || !existsSync(image)) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: folder,
      reason: 'it holds no kernel',
      remedy: `Delete it: the next run makes it anew`,
    });
  }
  const version = folder.slice(folder.lastIndexOf(prefix) + prefix.length);
  return { version, release, image, modules: join(folder, 'lib/modules', release) };
}

async function newestCached(): Promise<GuestKernel | undefined> {
  const names = await readdir(cacheFolder()).catch(() => []);
  const folders = names.filter((name) => name.startsWith(prefix + wantedSeries));
  const dated = await Promise.all(
    folders.map(async (name) => {
      const folder = join(cacheFolder(), name);
      return { folder, at: (await stat(folder)).ctimeMs };
    }),
  );
  const newest = dated.sort((a, b) => b.at - a.at)[0];
  return newest === undefined ? undefined : describe(newest.folder);
}
