/**
 * Build the images of operator and agent from their Dockerfiles, with no registry: Debian's buildah, on a base that mmdebstrap
 * makes by the machine's own apt sources. What is built is unpacked in the user's cache, in a folder named by the content of all
 * that goes in, so that it is built once. The last line of standard output is that folder; it has for each image
 *
 *   NAME/rootfs         its files
 *   NAME/config.json    what it starts, as whom, its labels
 *
 * Layers are kept there too: those that the last build used, and no others, 2 GB; with each folder's 400 MB. Measured with two
 * cores: the first time 7 min beside much other work, of which 3.5 min are its own; after a change of a source 17 s; found 0.07 s.
 *
 * usage: build-images.mjs [--find] [--archives FOLDER] [--help]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Buildah } from './buildah.mjs';
import { at, Unable } from './commands.mjs';

const images = ['operator', 'agent'];
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'serval', 'images');
/** So many of them stay, the last used. */
const kept = 4;
const begun = 'building-';

const say = (line) => console.error(`build-images: ${line}`);

const help = `usage: node scripts/build-images.mjs [--find] [--archives FOLDER]

  --find      build nothing: fail where these sources' images are missing
  --archives  write them as docker-archives there too, which podman, docker and containerd load
  --help      this text

Needs root, buildah and mmdebstrap. Environment: XDG_CACHE_HOME (default ~/.cache) has them afterwards, in serval/images.

Exit codes: 0 they are there, 1 it says what is missing and what to do, 2 wrong usage.`;

function readArguments() {
  const options = {
    find: { type: 'boolean' },
    archives: { type: 'string' },
    help: { type: 'boolean' },
    // Of this script to itself: it has the storage for itself, and mounts that nobody else sees.
    alone: { type: 'boolean' },
  };
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    console.error(`build-images: ${error.message}\n\n${help}`);
    process.exit(2);
  }
}

/** Of all that a build could read: what .dockerignore lets in, the Dockerfiles, and how we build. */
function contentKey() {
  const lines = readFileSync(at('.dockerignore'), 'utf8').split('\n');
  const allowed = lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
  const refused = lines.filter((line) => line.startsWith('**/')).map((line) => line.slice(3));
  const isRefused = (name) =>
    refused.some((rule) => (rule.startsWith('*') ? name.endsWith(rule.slice(1)) : name === rule));
  const hash = createHash('sha256');
  const add = (path) => {
    if (!statSync(at(path)).isDirectory()) hash.update(`${path}\0`).update(readFileSync(at(path)));
    else for (const name of readdirSync(at(path)).sort()) if (!isRefused(name)) add(join(path, name));
  };
  for (const path of [
    '.dockerignore',
    'images',
    'scripts/build-images.mjs',
    'scripts/buildah.mjs',
    ...allowed.sort(),
  ])
    add(path);
  return hash.digest('hex').slice(0, 16);
}

/** @returns {boolean} whether they are there; they are marked as used then */
function find(folder) {
  if (!existsSync(folder)) return false;
  utimesSync(folder, new Date(), new Date());
  return true;
}

/** One builds at a time; what is mounted for it is gone with it. */
function buildAlone(archives) {
  const own = [process.execPath, at('scripts/build-images.mjs'), '--alone'];
  if (archives !== undefined) own.push('--archives', archives);
  const words = [join(cache, 'lock'), 'unshare', '--mount', ...own];
  const { status, error } = spawnSync('flock', words, { stdio: ['ignore', 2, 2] });
  if (error)
    throw new Unable(`flock can not be started (${error.message}). Install util-linux and run this again.`);
  // It has said why.
  if (status !== 0) process.exit(status ?? 1);
}

function build(folder, archives) {
  if (archives === undefined && find(folder)) return; // somebody else has built it while this one waited
  for (const name of readdirSync(cache)) if (name.startsWith(begun)) remove(name); // of one that was killed
  const work = mkdtempSync(join(cache, begun));
  try {
    const buildah = new Buildah(join(cache, 'storage'), work, say);
    const base = buildah.base();
    for (const name of images) {
      buildah.build(name, base, { VERSION: version() });
      buildah.unpack(name, join(work, 'made', name));
      if (archives !== undefined) buildah.archive(name, join(archives, `${name}.tar`));
    }
    buildah.prune(base);
    if (!find(folder)) renameSync(join(work, 'made'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  removeOld();
}

const remove = (name) => rmSync(join(cache, name), { recursive: true, force: true });

function version() {
  return JSON.parse(readFileSync(at('package.json'), 'utf8')).version;
}

/** The longest unused first. */
function removeOld() {
  const folders = readdirSync(cache).filter((name) => /^[0-9a-f]{16}$/.test(name));
  const used = new Map(folders.map((name) => [name, statSync(join(cache, name)).mtimeMs]));
  for (const name of folders.sort((a, b) => used.get(b) - used.get(a)).slice(kept)) {
    say(`removing ${name}, which has not been used since ${new Date(used.get(name)).toISOString()}`);
    remove(name);
  }
}

function main() {
  const values = readArguments();
  if (values.help) return console.log(help);
  const folder = join(cache, contentKey());
  const archives = values.archives === undefined ? undefined : resolve(values.archives);
  mkdirSync(cache, { recursive: true });
  if (values.alone) return build(folder, archives);
  if (archives !== undefined || !find(folder)) {
    if (values.find)
      throw new Unable(`${folder} is missing. Build the images: node scripts/build-images.mjs`);
    buildAlone(archives);
  }
  console.log(folder);
}

try {
  main();
} catch (error) {
  if (!(error instanceof Unable)) throw error;
  console.error(`build-images: ${error.message}`);
  process.exit(1);
}
