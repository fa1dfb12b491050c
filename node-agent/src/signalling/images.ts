/**
 * How a folder of files is written as one stream. Pure.
 *
 *   stream   "SRVIMG01", files, trailer
 *   file     1, length of the name (2 bytes), size (8 bytes), name in ASCII, content, SHA-256 of the content
 *   trailer  0, number of files (4 bytes), bytes of all contents (8 bytes), SHA-256 of all headers and file sums in order
 *
 * Numbers are big-endian. The trailer binds names, sizes and sums together: a stream that was cut, or whose files were
 * mixed up, does not end right.
 */
import { createHash } from 'node:crypto';
import { ServalError } from '@serval/api';

const magic = Buffer.from('SRVIMG01');
const sumBytes = 32;
const headerBytes = 1 + 2 + 8;
const trailerBytes = 1 + 4 + 8 + sumBytes;

/** Names of image files: no folders, nothing hidden, nothing that a terminal or a shell would make something else of. */
const namePattern = /^[A-Za-z0-9_][A-Za-z0-9_.,@+-]{0,254}$/;

export function isImageName(name: string): boolean {
  return namePattern.test(name);
}

/** What a whole stream says of itself at its end. */
export interface Totals {
  files: number;
  bytes: number;
}

/** The sum of headers and sums, which sender and receiver keep alike. */
class Ledger {
  readonly totals: Totals = { files: 0, bytes: 0 };
  private readonly hash = createHash('sha256');

  file(header: Buffer, size: number): void {
    this.totals.files++;
    this.totals.bytes += size;
    this.hash.update(header);
  }

  sum(sum: Buffer): void {
    this.hash.update(sum);
  }

  trailer(): Buffer {
    const trailer = Buffer.alloc(trailerBytes);
    trailer.writeUInt32BE(this.totals.files, 1);
    trailer.writeBigUInt64BE(BigInt(this.totals.bytes), 5);
    this.hash.digest().copy(trailer, trailerBytes - sumBytes);
    return trailer;
  }
}

/** The parts of a stream, to be sent in this order: `begin`; for each file `header`, its content, `sum`; `end`. */
export class ImageWriter {
  private readonly ledger = new Ledger();

  begin(): Buffer {
    return magic;
  }

  header(name: string, size: number): Buffer {
    const header = Buffer.alloc(headerBytes + name.length);
    header[0] = 1;
    header.writeUInt16BE(name.length, 1);
    header.writeBigUInt64BE(BigInt(size), 3);
    header.write(name, headerBytes, 'latin1');
    this.ledger.file(header, size);
    return header;
  }

  sum(sum: Buffer): Buffer {
    this.ledger.sum(sum);
    return sum;
  }

  end(): Buffer {
    return this.ledger.trailer();
  }
}

export interface ImageBounds {
  files: number;
  bytes: number;
}

/** What the receiver does with the parts. `content` may come in pieces, and not at all for an empty file. */
export interface ImageSink {
  file(name: string, size: number): Promise<void> | void;
  content(piece: Buffer): Promise<void> | void;
  /** after the last piece; the SHA-256 that the sender found */
  sum(sum: Buffer): Promise<void> | void;
}

type Part = 'magic' | 'tag' | 'header' | 'name' | 'content' | 'sum' | 'trailer' | 'over';

/** Reads a stream piece by piece, however it was cut. Keeps no more than one header. */
export class ImageParser {
  private readonly ledger = new Ledger();
  private readonly names = new Set<string>();
  private part: Part = 'magic';
  /** bytes that the present part still lacks */
  private left = magic.length;
  private kept: Buffer[] = [];
  private header = Buffer.alloc(0);
  private size = 0;

  constructor(
    private readonly sink: ImageSink,
    private readonly bounds: ImageBounds,
  ) {}

  /** @throws ServalError ERR_BAD_INPUT, ERR_LIMIT, ERR_CHECKSUM; and what the sink throws */
  async push(chunk: Buffer): Promise<void> {
    let rest = chunk;
    while (rest.length > 0) {
      const piece = rest.subarray(0, Math.min(this.left, rest.length));
      rest = rest.subarray(piece.length);
      const work = this.take(piece);
      // Small files are written at once: a promise for each would be most of the work.
      if (work !== undefined) await work;
    }
  }

  /** @throws ServalError ERR_BAD_INPUT where the stream is not whole */
  end(): Totals {
    if (this.part !== 'over') throw badStream('it ends too early');
    return this.ledger.totals;
  }

  private take(piece: Buffer): Promise<void> | void {
    if (this.part === 'over') throw badStream('it goes on after its end');
    this.left -= piece.length;
    if (this.part === 'content') {
      if (this.left === 0) this.next('sum', sumBytes);
      return this.sink.content(piece);
    }
    this.kept.push(piece);
    if (this.left > 0) return;
    const whole = this.kept.length === 1 ? piece : Buffer.concat(this.kept);
    this.kept = [];
    return this.complete(whole);
  }

  private next(part: Part, bytes: number): void {
    this.part = part;
    this.left = bytes;
  }

  private complete(whole: Buffer): Promise<void> | void {
    switch (this.part) {
      case 'magic':
        if (!whole.equals(magic)) throw badStream('it does not begin as images do');
        return this.next('tag', 1);
      case 'tag':
        return this.tag(whole[0] as number);
      case 'header':
        return this.readHeader(whole);
      case 'name':
        return this.readName(whole);
      case 'sum':
        this.ledger.sum(whole);
        this.next('tag', 1);
        return this.sink.sum(whole);
      default:
        return this.readTrailer(whole);
    }
  }

  private tag(tag: number): void {
    if (tag > 1) throw badStream(`it has a part of kind ${tag}`);
    if (tag === 1) this.next('header', headerBytes - 1);
    else this.next('trailer', trailerBytes - 1);
  }

  private readHeader(header: Buffer): void {
    this.header = Buffer.from(header);
    const size = header.readBigUInt64BE(2);
    const { files, bytes } = this.ledger.totals;
    if (files === this.bounds.files) throw tooMuch(`more than ${this.bounds.files} files`);
    if (BigInt(bytes) + size > BigInt(this.bounds.bytes))
      throw tooMuch(`more than ${this.bounds.bytes} bytes`);
    this.size = Number(size);
    const length = header.readUInt16BE(0);
    if (length === 0 || length > 255) throw badStream('it has a file without a name, or with a long one');
    this.next('name', length);
  }

  private readName(bytes: Buffer): Promise<void> | void {
    const name = bytes.toString('latin1');
    if (!isImageName(name))
      throw badStream(`it has a file with the name ${JSON.stringify(name.slice(0, 80))}`);
    if (this.names.has(name)) throw badStream(`it has the file ${name} twice`);
    this.names.add(name);
    this.ledger.file(Buffer.concat([Buffer.from([1]), this.header, bytes]), this.size);
    if (this.size === 0) this.next('sum', sumBytes);
    else this.next('content', this.size);
    return this.sink.file(name, this.size);
  }

  private readTrailer(trailer: Buffer): void {
    this.part = 'over';
    this.left = 1;
    if (!this.ledger.trailer().subarray(1).equals(trailer))
      throw new ServalError('ERR_CHECKSUM', {
        subject: 'images on their way',
        reason: 'the sum at the end is not that of what arrived',
        remedy: 'Send them again; if it happens again, check the memory of both nodes',
      });
  }
}

function badStream(reason: string): ServalError {
  return new ServalError('ERR_BAD_INPUT', {
    subject: 'images on their way',
    reason,
    remedy: 'Run agents of versions that belong together on both nodes',
  });
}

function tooMuch(what: string): ServalError {
  return new ServalError('ERR_LIMIT', {
    subject: 'images on their way',
    reason: `they are ${what}`,
    remedy: 'Raise the limit on the target node, or move a smaller workload',
  });
}
