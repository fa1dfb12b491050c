/** Debian's buildah, with storage of its own and no registry: its base is made by mmdebstrap. */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { at, root, run, Unable } from './commands.mjs';

const suite = 'bookworm';
/** How the base is made: as debian:bookworm-slim, with licences, and nothing else to be read. */
const slim = [
  '--variant=minbase',
  // In place of a package that merges /bin and /usr/bin of older systems, by Perl: 52 MB.
  ...['--include=usr-is-merged', '--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr'],
  ...['man', 'doc', 'locale', 'info'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
  '--dpkgopt=path-include=/usr/share/doc/*/copyright',
];
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
const nameOf = (name) => `localhost/serval/${name}`;

export class Buildah {
  /**
   * To be used by one process at a time, in a mount namespace of its own: what is mounted is not unmounted.
   * @param storage images and layers, which stay
   * @param work a folder for what doesn't
   * @param say is told what takes long
   */
  constructor(storage, work, say) {
    this.work = work;
    this.say = say;
    const own = join(dirname(storage), 'run');
    for (const folder of [storage, own, join(work, 'tmp')]) mkdirSync(folder, { recursive: true });
    // Which containers are mounted: it takes what it finds here for true, also after a kill.
    // And it remembers elsewhere which layers registries have.
    mkdirSync('/var/lib/containers', { recursive: true });
    for (const folder of [own, '/var/lib/containers']) run('mount', ['-t', 'tmpfs', 'serval-images', folder]);
    this.options = ['--root', storage, '--runroot', own, '--storage-driver', 'overlay'];
    this.ask('rm', '--all'); // of one that was killed
  }

  ask(...words) {
    return run('buildah', [...this.options, ...words], { env: this.environment() }).trim();
  }

  /** @returns {string} the name of an image that has what debian:bookworm-slim has; made when it isn't there */
  base() {
    const about = { sources: sources(), options: aptOptions(), slim };
    const key = createHash('sha256').update(JSON.stringify(about)).digest('hex').slice(0, 12);
    const name = `${nameOf('base')}:${key}`;
    if (this.ask('images', '--quiet', '--filter', `reference=${name}`) === '') this.makeBase(name, about);
    return name;
  }

  makeBase(name, { sources, options }) {
    this.say(`a base image of Debian ${suite}: half a minute`);
    const file = join(this.work, 'base.tar');
    const apt = options.map((option) => `--aptopt=${option}`);
    run('mmdebstrap', [...slim, ...apt, suite, file, ...sources]);
    const container = this.ask('from', 'scratch');
    this.ask('add', '--quiet', container, file, '/');
    this.ask('commit', '--quiet', '--rm', container, name);
    rmSync(file);
  }

  /** From images/NAME/Dockerfile; the stage `build` keeps a name, so that its layers stay. */
  build(name, base, buildArguments) {
    this.say(`image ${name}`);
    const all = {
      ...buildArguments,
      BASE: base,
      BUILD_BASE: base,
      NPM_CONFIG_REGISTRY: npmSetting('registry'),
    };
    const words = Object.entries(all).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`]);
    const authority = process.env.NODE_EXTRA_CA_CERTS ?? npmSetting('cafile');
    const inside = '/run/authority.pem';
    if (authority !== undefined)
      words.push('--volume', `${authority}:${inside}:ro`, '--build-arg', `NODE_EXTRA_CA_CERTS=${inside}`);
    for (const [tag, target] of [
      [`${name}-build`, ['--target', 'build']],
      [name, []],
    ])
      this.must('build', '--isolation', 'chroot', '--layers', '--pull-never', ...words, ...target, [
        ...['--tag', nameOf(tag), '--file', at('images', name, 'Dockerfile'), root],
      ]);
  }

  /** An image's files, and what config.json says of it. */
  unpack(name, folder) {
    mkdirSync(folder, { recursive: true });
    const { OCIv1 } = JSON.parse(this.ask('inspect', '--type', 'image', nameOf(name)));
    writeFileSync(join(folder, 'config.json'), `${JSON.stringify(OCIv1.config, null, 2)}\n`);
    const container = this.ask('from', '--pull-never', nameOf(name));
    run('cp', ['--archive', this.ask('mount', container), join(folder, 'rootfs')]);
    this.ask('rm', container);
  }

  archive(name, file) {
    mkdirSync(dirname(file), { recursive: true });
    rmSync(file, { force: true });
    this.ask('push', '--quiet', nameOf(name), `docker-archive:${file}:${nameOf(name)}`);
  }

  /** What no image of ours is made of any more. */
  prune(base) {
    this.ask('rmi', '--prune');
    const bases = this.ask(
      'images',
      '--format',
      '{{.Name}}:{{.Tag}}',
      '--filter',
      `reference=${nameOf('base')}`,
    );
    for (const name of bases.split('\n')) if (name !== base) this.ask('rmi', name);
  }

  /** Says what it does, as it takes minutes. */
  must(...words) {
    const args = [...this.options, ...words.flat()];
    const { status, signal, error } = spawnSync('buildah', args, {
      cwd: root,
      env: this.environment(),
      stdio: ['ignore', 2, 2],
    });
    if (status === 0) return;
    throw new Unable(
      `buildah ended with ${error?.message ?? status ?? signal}. See what it says above, then run this again.`,
    );
  }

  environment() {
    return { ...process.env, TMPDIR: join(this.work, 'tmp') };
  }
}

/** The machine's own mirror, as its apt knows it: `deb` lines of all parts of the suite. */
function sources() {
  let found = knownSources();
  // It tells of those alone whose lists it has read.
  if (found.length === 0) run('apt-get', ['update', '-qq']);
  if (found.length === 0) found = knownSources();
  if (found.length > 0) return found.sort();
  throw new Unable(
    `This machine's apt knows no mirror of Debian ${suite}, which the images are made of. Name one in /etc/apt/sources.list.d.`,
  );
}

function knownSources() {
  const format = '$(RELEASE) $(REPO_URI) $(COMPONENT)';
  return run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'])
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([release]) => release === suite || release.startsWith(`${suite}-`))
    .map(([release, uri, component]) => `deb [signed-by=${keyring}] ${uri} ${release} ${component}`);
}

/** Proxies, and what it takes of a mirror that is a snapshot. */
function aptOptions() {
  return run('apt-config', ['dump'])
    .split('\n')
    .filter((line) => /^Acquire::(http|https|Check-[^ ]*|Retries)\b.* "[^"]/.test(line))
    .map((line) => line.replace(/;$/, ''));
}

/** As this machine's npm has it; undefined where it has none. */
const npmSetting = (name) => {
  const value = run('npm', ['config', 'get', name]).trim();
  return value === '' || value === 'null' || value === 'undefined' ? undefined : value;
};
