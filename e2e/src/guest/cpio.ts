/** A cpio archive in the `newc` form that the kernel unpacks as its initial root. */
export class CpioArchive {
  readonly #parts: Buffer[] = [];
  readonly #folders = new Set<string>();
  #inode = 0;

  /** A file with its permission bits; the folders above it come by themselves. */
  file(path: string, content: Buffer, mode: number): void {
    this.#entry(path, content, 0o100000 | (mode & 0o7777));
  }

  symlink(path: string, target: string): void {
    this.#entry(path, Buffer.from(target), 0o120777);
  }

  folder(path: string): void {
    const name = relative(path);
    if (name === '' || this.#folders.has(name)) return;
    this.#folders.add(name);
    this.#entry(name, Buffer.alloc(0), 0o040755);
  }

  /** The archive as bytes; nothing may be added afterwards. */
  finish(): Buffer {
    this.#append('TRAILER!!!', Buffer.alloc(0), 0);
    return Buffer.concat(this.#parts);
  }

  #entry(path: string, content: Buffer, mode: number): void {
    const name = relative(path);
    const end = name.lastIndexOf('/');
    if (end > 0) this.folder(name.slice(0, end));
    this.#append(name, content, mode);
  }

  #append(name: string, content: Buffer, mode: number): void {
    const bytes = Buffer.from(`${name}\0`);
    // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name, checksum
    const fields = [++this.#inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, bytes.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    this.#padded(Buffer.concat([Buffer.from(header), bytes]));
    this.#padded(content);
  }

  #padded(part: Buffer): void {
    this.#parts.push(part, Buffer.alloc((4 - (part.length % 4)) % 4));
  }
}

function relative(path: string): string {
  return path.replace(/^\/+|\/+$/g, '');
}
