/** Takes images from another node into a folder: all of them, checked, or nothing. */
import { createHash, hash, type Hash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm, statfs, type FileHandle } from 'node:fs/promises';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { basename, dirname, join } from 'node:path';
import { ServalError } from '@serval/api';
import type { MigrationId, NodeName } from '../protocol/messages.js';
import { ImageParser, isImageName, type ImageBounds, type ImageSink, type Totals } from './images.js';
import { imagesPath } from './wire.js';

export interface ImagesReceiver {
  /**
   * The folder that these images become; what is there already is replaced at the end. `part` tells several folders of
   * one migration apart, where the sender has several. A rejection refuses the images: this is where the sender's right
   * to send them is checked. It belongs on a tmpfs: small files are written synchronously, and a busy disk would keep
   * the agent from everything else.
   */
  directory: (from: NodeName, migration: MigrationId, part: string | undefined) => Promise<string>;
  limits?: Partial<ImageLimits>;
}

export interface ImageLimits extends ImageBounds {
  /** without a byte for so long, the sender is given up */
  stallMs: number;
}

export const defaultImageLimits: ImageLimits = { files: 100_000, bytes: 2 ** 40, stallMs: 10_000 };

/** Header with the number of bytes to come, so that a full disk is noticed before and not in the middle. */
export const totalHeader = 'x-serval-bytes';

/** Files up to this size are collected and written at once, without a trip through libuv's threads. */
const smallBytes = 1 << 18;
/** Larger ones are written in pieces of at least this size. */
const pieceBytes = 1 << 20;

/** The answer's bytes: the totals, as JSON. @throws ServalError */
export async function answerImages(
  stream: ServerHttp2Stream,
  request: { from: NodeName; path: string; headers: IncomingHttpHeaders },
  receiver: ImagesReceiver | undefined,
): Promise<Buffer> {
  const [migration = '', part, ...more] = request.path.slice(imagesPath.length).split('/');
  if (receiver === undefined || !/^[0-9a-f]{16}$/.test(migration) || more.length > 0)
    throw badRequest(request.path, 'images are not taken there');
  if (part !== undefined && !isImageName(part)) throw badRequest(request.path, 'its last part is no name');
  const limits = { ...defaultImageLimits, ...receiver.limits };
  const folder = await receiver.directory(request.from, migration, part);
  // Its own timer counts what arrives, whoever waits for whom.
  stream.setTimeout(limits.stallMs, () => stream.close(constants.NGHTTP2_CANCEL));
  const totals = await writing(folder, async () => {
    const unfinished = await makeUnfinished(folder);
    try {
      await enoughSpace(unfinished, folder, Number(request.headers[totalHeader] ?? 0));
      const received = await receive(stream, unfinished, limits);
      await replace(unfinished, folder);
      return received;
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
  });
  return Buffer.from(JSON.stringify({ ok: true, ...totals }));
}

function badRequest(path: string, reason: string): ServalError {
  return new ServalError('ERR_BAD_INPUT', {
    subject: `request to "${path.slice(0, 100)}"`,
    reason,
    remedy: `POST to ${imagesPath}MIGRATION or ${imagesPath}MIGRATION/PART of a node that is the target`,
  });
}

/** Beside the folder, and so on its file system. */
async function makeUnfinished(folder: string): Promise<string> {
  await mkdir(dirname(folder), { recursive: true, mode: 0o700 });
  return mkdtemp(join(dirname(folder), `.${basename(folder)}.receiving-`));
}

async function enoughSpace(unfinished: string, folder: string, bytes: number): Promise<void> {
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw badRequest(totalHeader, 'it is no number of bytes');
  const { blocks, bavail, bsize } = await statfs(unfinished);
  // A tmpfs without a limit has no blocks to count.
  if (blocks > 0 && bavail * bsize < bytes)
    throw noSpace(folder, `${bytes} bytes are to come, ${bavail * bsize} are free`);
}

function noSpace(folder: string, reason: string, cause?: unknown): ServalError {
  return new ServalError('ERR_NO_SPACE', {
    subject: folder,
    reason,
    remedy: 'Free space there, or have images received into another file system (a tmpfs as a rule)',
    cause,
  });
}

async function receive(stream: ServerHttp2Stream, into: string, limits: ImageLimits): Promise<Totals> {
  const files = new FileSink(into);
  const parser = new ImageParser(files, limits);
  try {
    // After an error the stream still has to carry the answer.
    const chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    for await (const chunk of chunks) await parser.push(chunk);
    return parser.end();
  } finally {
    await files.close();
  }
}

/** The new folder takes the place of one that came before it. */
async function replace(unfinished: string, folder: string): Promise<void> {
  const old = `${unfinished}.old`;
  await rename(folder, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rename(unfinished, folder);
  await rm(old, { recursive: true, force: true });
}

/** Errors of the file system name the folder; a broken stream is no error of ours to explain. */
async function writing<Result>(folder: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof ServalError) throw thrown;
    const { code, message, syscall } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') throw noSpace(folder, 'no space is left', thrown);
    throw new ServalError(syscall === undefined ? 'ERR_UNREACHABLE' : 'ERR_MOVER', {
      subject: folder,
      reason: `images could not be received: ${message}`,
      remedy: 'Send them again; check the folder and the network; the source may be thawed',
      cause: thrown,
    });
  }
}

/** Writes files and checks their sums. */
class FileSink implements ImageSink {
  private path = '';
  private size = 0;
  private pieces: Buffer[] = [];
  private length = 0;
  private handle: FileHandle | undefined;
  private hash: Hash | undefined;

  constructor(private readonly folder: string) {}

  file(name: string, size: number): Promise<void> | void {
    this.path = join(this.folder, name);
    this.size = size;
    if (size > smallBytes) return this.openLarge();
  }

  content(piece: Buffer): Promise<void> | void {
    this.pieces.push(piece);
    this.length += piece.length;
    if (this.handle === undefined) return;
    this.hash?.update(piece);
    if (this.length >= pieceBytes) return this.flush(this.handle);
  }

  sum(expected: Buffer): Promise<void> | void {
    if (this.handle !== undefined) return this.finishLarge(this.handle, expected);
    const content = this.pieces.length === 1 ? (this.pieces[0] as Buffer) : Buffer.concat(this.pieces);
    this.forget();
    this.mustBe(hash('sha256', content, 'buffer'), expected);
    const file = openSync(this.path, 'wx', 0o600);
    try {
      for (let at = 0; at < content.length;) at += writeSync(file, content, at);
    } finally {
      closeSync(file);
    }
  }

  /** After an error a file may be open. */
  async close(): Promise<void> {
    await this.handle?.close();
    this.handle = undefined;
  }

  private async openLarge(): Promise<void> {
    this.handle = await open(this.path, 'wx', 0o600);
    this.hash = createHash('sha256');
  }

  private async flush(handle: FileHandle): Promise<void> {
    const pieces = this.pieces;
    this.forget();
    let left = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const { bytesWritten } = await handle.writev(pieces);
    left -= bytesWritten;
    // A disk that is nearly full takes a part; the rest then says why.
    if (left > 0) await handle.writeFile(Buffer.concat(pieces).subarray(bytesWritten));
  }

  private async finishLarge(handle: FileHandle, expected: Buffer): Promise<void> {
    if (this.length > 0) await this.flush(handle);
    this.mustBe((this.hash as Hash).digest(), expected);
    await this.close();
  }

  private forget(): void {
    this.pieces = [];
    this.length = 0;
  }

  private mustBe(found: Buffer, expected: Buffer): void {
    if (!found.equals(expected))
      throw new ServalError('ERR_CHECKSUM', {
        subject: `image ${basename(this.path)} (${this.size} bytes)`,
        reason: `its SHA-256 is ${found.toString('hex')}, that of the source ${expected.toString('hex')}`,
        remedy: 'Send the images again; if it happens again, check the memory of both nodes',
      });
  }
}
