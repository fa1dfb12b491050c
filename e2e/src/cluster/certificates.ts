/**
 * The cluster's certificate authority, by openssl: `servald certs` makes certificates of nodes, which have neither groups
 * nor addresses. Keys are P-256.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environment } from '../clients/programs.js';
import { run, tool } from '../lab/processes.js';

/** Paths of PEM files. */
export interface KeyPairFiles {
  cert: string;
  key: string;
}

export interface Subject {
  /** common name: Kubernetes' name of a user, at most 64 characters */
  name: string;
  /** organizations: Kubernetes' groups of a user */
  groups?: readonly string[];
}

const authorityExtensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];

export class Authority {
  private issued = 0;

  private constructor(
    private readonly folder: string,
    readonly files: KeyPairFiles,
  ) {}

  /** Makes one in this folder, which is made too. */
  static async make(folder: string): Promise<Authority> {
    mkdirSync(folder, { mode: 0o700 });
    const authority = new Authority(folder, pairAt(folder, 'ca'));
    // Two of one name could not be told apart by their certificates' issuer.
    const name = `serval test authority ${randomBytes(4).toString('hex')}`;
    await authority.certificate(authority.files, { name }, authorityExtensions, []);
    return authority;
  }

  /** A certificate by which a user is known to the API server. */
  client(subject: Subject): Promise<KeyPairFiles> {
    return this.issue(subject, ['extendedKeyUsage=clientAuth']);
  }

  /** A server's. @param names as openssl has them: IP:127.0.0.1, DNS:localhost */
  server(subject: Subject, names: readonly string[]): Promise<KeyPairFiles> {
    return this.issue(subject, ['extendedKeyUsage=serverAuth', `subjectAltName=${names.join(',')}`]);
  }

  private async issue(subject: Subject, extensions: readonly string[]): Promise<KeyPairFiles> {
    const pair = pairAt(this.folder, String(++this.issued));
    const { cert, key } = this.files;
    const leaf = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature'];
    await this.certificate(pair, subject, [...leaf, ...extensions], ['-CA', cert, '-CAkey', key]);
    return pair;
  }

  private async certificate(
    { cert, key }: KeyPairFiles,
    subject: Subject,
    extensions: readonly string[],
    signedBy: readonly string[],
  ): Promise<void> {
    // A file of our own: the machine's has extensions of an authority in it.
    const config = `${cert}.cnf`;
    const lines = ['[req]', 'distinguished_name=dn', 'x509_extensions=v3', '[dn]', '[v3]', ...extensions];
    writeFileSync(config, `${lines.join('\n')}\n`);
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key];
    // By chance, since several are made at a time.
    const serial = ['-set_serial', `0x40${randomBytes(15).toString('hex')}`];
    const what = ['-config', config, '-utf8', '-subj', distinguishedName(subject), '-days', '365', ...serial];
    await run(tool('openssl'), ['req', '-x509', ...newKey, ...what, ...signedBy, '-out', cert], {
      env: environment,
    });
  }
}

export function readPair({ cert, key }: KeyPairFiles): { cert: string; key: string } {
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

function pairAt(folder: string, name: string): KeyPairFiles {
  return { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
}

function distinguishedName({ name, groups = [] }: Subject): string {
  const escaped = (text: string): string => text.replace(/[\\/+]/g, '\\$&');
  return [...groups.map((group) => `/O=${escaped(group)}`), `/CN=${escaped(name)}`].join('');
}
