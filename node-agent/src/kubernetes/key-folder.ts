/**
 * A node's keys and certificates on its disk: `ca.crt`, and a folder for each key, named by its public key, with `tls.key` and,
 * once it is issued, `tls.crt`. The link `current` names the pair that is in use: it changes in one step, whatever dies.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import type { CredentialFiles } from '../signalling/credentials.js';
import { syncFolder, writeWhole } from '../signalling/files.js';

export interface NodeKey {
  /** of its public key: sixteen hexadecimal digits */
  name: string;
  /** PEM */
  key: string;
}

const namePattern = /^[0-9a-f]{16}$/;

export class KeyFolder {
  readonly files: CredentialFiles;

  /** Makes it where it is missing, for root alone. @throws ServalError where that can't be done */
  constructor(private readonly dir: string) {
    this.files = {
      ca: join(dir, 'ca.crt'),
      cert: join(dir, 'current', 'tls.crt'),
      key: join(dir, 'current', 'tls.key'),
    };
    doing(dir, () => mkdirSync(dir, { recursive: true, mode: 0o700 }));
  }

  /** Empty where there is none. */
  authorities(): string {
    return textOf(this.files.ca);
  }

  /** In PEM; undefined where there is none with its key. */
  certificate(): { cert: string; key: string } | undefined {
    const [cert, key] = [textOf(this.files.cert), textOf(this.files.key)];
    return cert === '' || key === '' ? undefined : { cert, key };
  }

  writeAuthorities(text: string): void {
    doing(this.files.ca, () => writeWhole(this.files.ca, text, { mode: 0o644, replace: true }));
  }

  /** A key that is not in use yet: the one that was made last, which may have been asked for before a restart. */
  pending(): NodeKey | undefined {
    const found = this.others()
      .map((name) => ({
        name,
        key: textOf(join(this.dir, name, 'tls.key')),
        at: ageOf(join(this.dir, name)),
      }))
      // What was written by somebody else, or in part, is none.
      .filter(({ name, key }) => key !== '' && nameOf(key) === name)
      .sort((a, b) => b.at - a.at)[0];
    return found && { name: found.name, key: found.key };
  }

  makeKey(): NodeKey {
    const { privateKey } = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const name = nameOf(privateKey) ?? '';
    const folder = join(this.dir, name);
    doing(folder, () => {
      mkdirSync(folder, { mode: 0o700 });
      writeWhole(join(folder, 'tls.key'), privateKey, { mode: 0o600, replace: true });
    });
    return { name, key: privateKey };
  }

  /** It is in use from now on, and every other key is gone. */
  install(name: string, certificate: string): void {
    doing(join(this.dir, name), () => {
      writeWhole(join(this.dir, name, 'tls.crt'), certificate, { mode: 0o644, replace: true });
      const link = join(this.dir, '.current.new');
      rmSync(link, { force: true });
      symlinkSync(name, link);
      renameSync(link, join(this.dir, 'current'));
      syncFolder(this.dir);
    });
    for (const other of this.others()) this.drop(other);
  }

  /** Of a key that nobody gives a certificate to. */
  drop(name: string): void {
    doing(join(this.dir, name), () => rmSync(join(this.dir, name), { recursive: true, force: true }));
  }

  /** Keys that are not in use. */
  private others(): string[] {
    const current = linkOf(join(this.dir, 'current'));
    return readdirSync(this.dir).filter((name) => namePattern.test(name) && name !== current);
  }
}

/** Undefined for what is no key. */
function nameOf(key: string): string | undefined {
  try {
    const der = createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' });
    return createHash('sha256').update(der).digest('hex').slice(0, 16);
  } catch {
    return undefined;
  }
}

function textOf(path: string): string {
  return existsSync(path) ? doing(path, () => readFileSync(path, 'utf8')) : '';
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function ageOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function doing<Value>(path: string, work: () => Value): Value {
  try {
    return work();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new ServalError(code === 'ENOSPC' ? 'ERR_NO_SPACE' : 'ERR_NO_PERMISSION', {
      subject: path,
      reason: message,
      remedy: 'See whether its disk has room, is writable, and belongs to root',
      cause,
    });
  }
}
