/** Sends a folder of images: small files many to a write, large ones as a stream, never more than the receiver takes. */
import { createHash, hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { ImageWriter, isImageName, type Totals } from './images.js';

/** Files of CRIU's that the restore does not read: logs, statistics and what the dump left for this host alone. */
const leftBehind = /^(stats-.*|.*\.log|.*\.pid)$/;

const smallBytes = 1 << 18;
/** What is collected before it is written to the stream, and what is read of a large file at a time. */
const pieceBytes = 1 << 18;

export interface ImageList {
  dir: string;
  files: Array<{ name: string; size: number }>;
  bytes: number;
}

/**
 * What is to be sent. Logs and the like stay behind, and what `exclude` matches.
 * @throws ServalError ERR_MOVER where the folder can not be read, or has something in it that is no file and not excluded
 */
export function listImages(dir: string, exclude?: RegExp): Promise<ImageList> {
  return reading(dir, async () => {
    const entries = await readdir(dir, { withFileTypes: true });
    const wanted = entries.filter(({ name }) => !leftBehind.test(name) && exclude?.test(name) !== true);
    const odd = wanted.find((entry) => !entry.isFile() || !isImageName(entry.name));
    if (odd !== undefined)
      throw new Error(
        `"${odd.name}" is no plain file, or its name is not fit to be sent; exclude it or remove it`,
      );
    const files: ImageList['files'] = [];
    for (const { name } of wanted) {
      files.push({ name, size: statSync(join(dir, name)).size });
      if (files.length % 256 === 0) await breathe();
    }
    return { dir, files, bytes: files.reduce((sum, { size }) => sum + size, 0) };
  });
}

/** Writes all to the stream and ends it. `sink` settles each write when there is room for more. */
export async function writeImages(list: ImageList, sink: (piece: Buffer) => Promise<void>): Promise<Totals> {
  const writer = new ImageWriter();
  const batch = new Batch(sink);
  await batch.add(writer.begin());
  for (const { name, size } of list.files) {
    const path = join(list.dir, name);
    if (size <= smallBytes) {
      const content = readSmall(path, size);
      batch.collect(writer.header(name, size));
      batch.collect(content);
      await batch.add(writer.sum(hash('sha256', content, 'buffer')));
    } else await sendLarge(path, { name, size }, { writer, batch });
  }
  await batch.add(writer.end());
  await batch.flush();
  return { files: list.files.length, bytes: list.bytes };
}

/** Collects small pieces. */
class Batch {
  private pieces: Buffer[] = [];
  private length = 0;

  constructor(private readonly sink: (piece: Buffer) => Promise<void>) {}

  collect(piece: Buffer): void {
    this.pieces.push(piece);
    this.length += piece.length;
  }

  async add(piece: Buffer): Promise<void> {
    this.collect(piece);
    if (this.length >= pieceBytes) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.length === 0) return;
    const whole = this.pieces.length === 1 ? (this.pieces[0] as Buffer) : Buffer.concat(this.pieces);
    this.pieces = [];
    this.length = 0;
    await this.sink(whole);
  }
}

/** Synchronously: a trip through libuv's threads costs more than these few bytes. */
function readSmall(path: string, size: number): Buffer {
  const failed = (reason: string, cause?: unknown): ServalError => unreadable(path, reason, cause);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    throw failed((cause as Error).message, cause);
  }
  try {
    if (fstatSync(file).size !== size) throw failed('its size changed while it was sent');
    const content = Buffer.allocUnsafe(size);
    let at = 0;
    while (at < size) {
      const read = readSync(file, content, at, size - at, at);
      if (read === 0) throw failed('it became shorter while it was sent');
      at += read;
    }
    return content;
  } finally {
    closeSync(file);
  }
}

async function sendLarge(
  path: string,
  { name, size }: { name: string; size: number },
  { writer, batch }: { writer: ImageWriter; batch: Batch },
): Promise<void> {
  const file = await reading(path, () => open(path, 'r'));
  try {
    const sum = createHash('sha256');
    await batch.add(writer.header(name, size));
    for (let at = 0; at < size;) {
      // A buffer of its own for each piece: the stream keeps the one before.
      const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, size - at));
      const { bytesRead } = await reading(path, () => file.read(piece, 0, piece.length, at));
      if (bytesRead === 0) throw unreadable(path, 'it became shorter while it was sent');
      const content = piece.subarray(0, bytesRead);
      sum.update(content);
      at += bytesRead;
      await batch.add(content);
    }
    await batch.add(writer.sum(sum.digest()));
  } finally {
    await file.close();
  }
}

/** Settles when the stream wants more. Rejects when it is closed before. */
export function writeTo(stream: Writable): (piece: Buffer) => Promise<void> {
  return async (piece) => {
    if (stream.destroyed || stream.writableEnded) throw new Error('the stream is closed');
    if (stream.write(piece)) return;
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        stream.off('drain', settle).off('close', settle);
        if (stream.destroyed) reject(new Error('the stream was closed'));
        else resolve();
      };
      stream.on('drain', settle).on('close', settle);
    });
  };
}

async function reading<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    throw unreadable(path, (cause as Error).message, cause);
  }
}

function unreadable(path: string, reason: string, cause?: unknown): ServalError {
  return new ServalError('ERR_MOVER', {
    subject: path,
    reason: `it can not be sent: ${reason}`,
    remedy: 'Check what the dump left there; the source may be thawed',
    cause,
  });
}
