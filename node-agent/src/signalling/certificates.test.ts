import { X509Certificate } from 'node:crypto';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { certifiedNode } from '@serval/kube-runtime';
import { issueNode, makeAuthority, retireAuthorities, rotateAuthority } from './certificates.js';
import { until } from './cluster.fixture.js';
import { Credentials } from './credentials.js';
import { writeWhole } from './files.js';
import { issuedBy } from './identity.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'serval-certificates-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const read = (name: string): string => readFileSync(join(dir, name), 'utf8');
const files = (node: string) => ({
  ca: join(dir, 'ca.crt'),
  cert: join(dir, `${node}.crt`),
  key: join(dir, `${node}.key`),
});
const rejected = (code: string) => expect.objectContaining({ code });

describe('certificates', () => {
  it('makes an authority and nodes, keys readable by their owner alone, and nothing else', async () => {
    await makeAuthority(join(dir, 'sub'));
    await issueNode(join(dir, 'sub'), 'node-a');
    dir = join(dir, 'sub');
    expect(readdirSync(dir).sort()).toEqual(['ca.crt', 'ca.key', 'node-a.crt', 'node-a.key']);
    expect(statSync(join(dir, 'ca.key')).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, 'node-a.key')).mode & 0o777).toBe(0o600);
    dir = join(dir, '..');
  });

  it('issues what names the node and can only be a node', async () => {
    await makeAuthority(dir);
    const name = `${'a'.repeat(60)}.${'b'.repeat(60)}.c`;
    await issueNode(dir, name, { days: 2 });
    const [ca, node] = [new X509Certificate(read('ca.crt')), new X509Certificate(read(`${name}.crt`))];
    expect(node.subjectAltName).toBe(`URI:spiffe://serval/node/${name}`);
    expect(node.subject).toBe(`CN=${name.slice(0, 64)}`);
    expect(certifiedNode(node.subjectAltName)).toBe(name);
    expect([ca.ca, node.ca]).toEqual([true, false]);
    expect(issuedBy(node, [ca])).toBe(true);
    expect(issuedBy(node, [])).toBe(false);
    const days = (node.validToDate.getTime() - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(1.99);
    expect(days).toBeLessThan(2.01);
  });

  it('never writes over what is there unless told', async () => {
    await makeAuthority(dir);
    await issueNode(dir, 'a');
    const before = [read('ca.crt'), read('ca.key'), read('a.crt'), read('a.key')];
    await expect(makeAuthority(dir)).rejects.toEqual(rejected('ERR_CONFLICT'));
    await expect(issueNode(dir, 'a')).rejects.toEqual(rejected('ERR_CONFLICT'));
    rmSync(join(dir, 'a.key'));
    await expect(issueNode(dir, 'a')).rejects.toEqual(rejected('ERR_CONFLICT'));
    expect([read('ca.crt'), read('ca.key'), read('a.crt')]).toEqual(before.slice(0, 3));
    await issueNode(dir, 'a', { replace: true });
    expect(read('a.crt')).not.toBe(before[2]);
    expect(readdirSync(dir)).toHaveLength(4);
    // Also where somebody else was a moment faster.
    expect(() => writeWhole(join(dir, 'a.crt'), '', { mode: 0o600, replace: false })).toThrow(
      rejected('ERR_CONFLICT'),
    );
    expect(read('a.crt')).not.toBe('');
  });

  it.each(['', 'A', 'a/b', '../a', 'ca', '-a', 'a..b', 'a'.repeat(64), 'x.'.repeat(130)])(
    'refuses the node name "%s"',
    async (name) => {
      await makeAuthority(dir);
      await expect(issueNode(dir, name)).rejects.toEqual(rejected('ERR_BAD_INPUT'));
    },
  );

  it.each([0, -1, NaN, Infinity])('refuses %d days', async (days) => {
    await expect(makeAuthority(dir, { days })).rejects.toEqual(rejected('ERR_BAD_INPUT'));
  });

  it('says that there is no authority', async () => {
    await expect(issueNode(dir, 'a')).rejects.toEqual(rejected('ERR_NOT_FOUND'));
    await expect(rotateAuthority(dir)).rejects.toEqual(rejected('ERR_NOT_FOUND'));
  });

  it('changes authorities in two steps', async () => {
    await makeAuthority(dir);
    await issueNode(dir, 'old');
    await rotateAuthority(dir);
    await issueNode(dir, 'new');
    const both = Credentials.load(files('old')).current;
    const [older, newer] = ['old', 'new'].map((name) => new X509Certificate(read(`${name}.crt`))) as [
      X509Certificate,
      X509Certificate,
    ];
    expect(both.authorities).toHaveLength(2);
    expect([issuedBy(older, both.authorities), issuedBy(newer, both.authorities)]).toEqual([true, true]);
    retireAuthorities(dir);
    const { authorities } = Credentials.load(files('new')).current;
    expect([issuedBy(older, authorities), issuedBy(newer, authorities)]).toEqual([false, true]);
  });
});

describe('credentials', () => {
  beforeEach(async () => {
    await makeAuthority(dir);
    await issueNode(dir, 'a');
  });

  it('says what is missing or does not fit', async () => {
    await issueNode(dir, 'b');
    expect(() => Credentials.load(files('c'))).toThrow(rejected('ERR_NOT_FOUND'));
    expect(() => Credentials.load({ ...files('a'), key: files('b').key })).toThrow(/it is not the key of/);
    expect(() => Credentials.load({ ...files('a'), cert: files('a').ca, key: join(dir, 'ca.key') })).toThrow(
      /names no node/,
    );
    writeFileSync(join(dir, 'empty'), '');
    expect(() => Credentials.load({ ...files('a'), ca: join(dir, 'empty') })).toThrow(
      rejected('ERR_CERTIFICATE'),
    );
    expect(() => Credentials.load({ ...files('a'), cert: join(dir, 'empty') })).toThrow(
      rejected('ERR_CERTIFICATE'),
    );
  });

  it('keeps what it has while only half of a new pair is there', async () => {
    const credentials = Credentials.load(files('a'));
    const before = credentials.current;
    const changes: unknown[] = [];
    credentials.onChange((identity) => changes.push(identity));
    expect(credentials.reload()).toBe(false);
    copyFileSync(files('a').cert, join(dir, 'kept'));
    await issueNode(dir, 'a', { replace: true });
    const whole = read('a.crt');
    copyFileSync(join(dir, 'kept'), files('a').cert);
    expect(() => credentials.reload()).toThrow(rejected('ERR_CERTIFICATE'));
    expect(credentials.current).toBe(before);
    writeFileSync(files('a').cert, whole);
    expect(credentials.reload()).toBe(true);
    expect(changes).toEqual([credentials.current]);
  });

  it('does not become another node', async () => {
    await issueNode(dir, 'b');
    const credentials = Credentials.load(files('a'));
    copyFileSync(files('b').cert, files('a').cert);
    copyFileSync(files('b').key, files('a').key);
    expect(() => credentials.reload()).toThrow(rejected('ERR_WRONG_NODE'));
  });

  it('sees new files by itself', async () => {
    const credentials = Credentials.load(files('a'));
    const before = credentials.current.cert;
    credentials.watch(() => undefined, 10);
    try {
      await issueNode(dir, 'a', { replace: true });
      await until('the new certificate is read', () => credentials.current.cert !== before);
      expect(credentials.current.cert).toBe(read('a.crt'));
    } finally {
      credentials.close();
    }
  });
});
