import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeLog, systemClock } from '@serval/kube-runtime';
import { newAuthority, type Pair } from '@serval/kube-runtime/x509';
import { Credentials } from '../signalling/credentials.js';
import { until } from '../signalling/cluster.fixture.js';
import {
  keepCertificate,
  type CertificateOptions,
  type CertificateTimes,
  type KeptCertificate,
} from './certificate.js';
import { FakeSigner, signedBy } from './signer.fixture.js';

const dayMs = 86_400_000;
const times: CertificateTimes = {
  firstWaitMs: 10,
  mostWaitMs: 50,
  firstRefusedMs: 3_600_000,
  mostRefusedMs: 3_600_000,
  spreadMs: 50,
};

describe("a node's certificate", () => {
  let one: Pair;
  let two: Pair;
  let dir: string;
  let signer: FakeSigner;
  let words: string;
  const kept: KeptCertificate[] = [];

  beforeAll(async () => {
    [one, two] = await Promise.all([newAuthority(90 * dayMs), newAuthority(90 * dayMs)]);
  });
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'serval-keep-'));
    signer = new FakeSigner(one.cert, signedBy(one, 30 * dayMs));
    words = '';
  });
  afterEach(async () => {
    for (const each of kept.splice(0)) await each.close();
    rmSync(dir, { recursive: true, force: true });
  });

  async function keep(more: Partial<CertificateOptions> = {}): Promise<KeptCertificate> {
    const destination = { write: (line: string) => void (words += line) };
    const log = makeLog({ level: 'info', base: {}, destination });
    const given = { client: signer.client, node: 'n1', dir, caNamespace: 'sys', log, times, ...more };
    const keeping = await keepCertificate(given);
    kept.push(keeping);
    return keeping;
  }
  const serial = (): string =>
    new X509Certificate(readFileSync(join(dir, 'current', 'tls.crt'))).serialNumber;
  const isBy = ({ cert }: Pair): boolean =>
    new X509Certificate(readFileSync(join(dir, 'current', 'tls.crt'))).checkIssued(new X509Certificate(cert));

  it('is asked for, and can be used at once', async () => {
    const { files, expiresAt } = await keep().then((it) => ({ files: it.files, expiresAt: it.expiresAt() }));
    expect(Credentials.load(files).current.node).toBe('n1');
    expect(Math.abs(expiresAt - Date.now() - 30 * dayMs)).toBeLessThan(10_000);
    expect([...signer.requests.keys()]).toEqual([expect.stringMatching(/^serval-n1-[0-9a-f]{16}$/)]);
    expect(JSON.stringify([...signer.requests.values()])).not.toContain('PRIVATE');
  });

  it('that is on disk is used though the API server is dead', async () => {
    await (await keep()).close();
    const before = serial();
    signer.isDead = true;
    const { expiresAt } = await keep().then((it) => ({ expiresAt: it.expiresAt() }));
    expect(expiresAt).toBeGreaterThan(Date.now());
    expect(serial()).toBe(before);
    expect(signer.requests.size).toBe(1);
  });

  it('is asked for under the same name after a restart, and waited for politely', async () => {
    const sign = signer.answer;
    signer.answer = () => Promise.resolve({});
    const end = new AbortController();
    const waiting = keep({ signal: end.signal });
    await until('it is asked for', () => signer.requests.size === 1);
    end.abort();
    await expect(waiting).rejects.toThrow(/before it had one/);
    signer.answer = sign;
    await keep();
    expect(signer.requests.size).toBe(1);
  });

  it('is waited for while the API server is dead, and comes when that is back', async () => {
    signer.isDead = true;
    const waiting = keep();
    await until('it says so', () => words.includes('could not ask for a certificate'));
    signer.isDead = false;
    await waiting;
  });

  it('that is refused is not asked for again for long, and the refusal told', async () => {
    signer.answer = () =>
      Promise.resolve({ conditions: [{ type: 'Denied', reason: 'OtherNode', message: 'not yours' }] });
    const end = new AbortController();
    const waiting = keep({ signal: end.signal });
    await until('it is told', () => words.includes('Denied, OtherNode: not yours'));
    signer.publish(one.cert + two.cert);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(signer.requests.size).toBe(1);
    end.abort();
    await expect(waiting).rejects.toThrow();
  });

  it('after a refusal is asked for with another key', async () => {
    const refusedMs = { firstRefusedMs: 20, mostRefusedMs: 20 };
    const sign = signer.answer;
    let count = 0;
    signer.answer = (name, request) =>
      count++ === 0 ? Promise.resolve({ conditions: [{ type: 'Failed' }] }) : sign(name, request);
    await keep({ times: { ...times, ...refusedMs } });
    expect(signer.requests.size).toBe(2);
  });

  it('is renewed when another authority signs, before that is retired, and once', async () => {
    await keep();
    const before = serial();
    signer.publish(one.cert + two.cert);
    await until('it is heard', () => readFileSync(join(dir, 'ca.crt'), 'utf8') === one.cert + two.cert);
    expect(serial()).toBe(before);
    signer.answer = signedBy(two, 30 * dayMs);
    signer.publish(two.cert + one.cert);
    await until('it is renewed', () => serial() !== before);
    expect(isBy(two)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(signer.requests.size).toBe(2);
  });

  it('is not asked for again and again where whoever signs does not stand first', async () => {
    signer.publish(two.cert + one.cert);
    await keep();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(signer.requests.size).toBeLessThanOrEqual(2);
  });

  it('is renewed at once when its authority is trusted no more', async () => {
    await keep();
    signer.answer = signedBy(two, 30 * dayMs);
    signer.publish(two.cert);
    await until('it is renewed', () => isBy(two));
  });

  it('is renewed before it ends, and stays in use until then', async () => {
    signer.answer = signedBy(one, 1_500);
    const { files } = await keep();
    const credentials = Credentials.load(files);
    const seen = new Set<string>();
    await until('it was renewed three times', () => {
      credentials.reload();
      const own = new X509Certificate(credentials.current.cert);
      expect(own.validToDate.getTime()).toBeGreaterThan(Date.now() - 1_000);
      return seen.add(own.serialNumber).size > 3;
    });
  });

  it('of an authority that is not known is not used before that is', async () => {
    signer.answer = signedBy(two, 30 * dayMs);
    const waiting = keep();
    await until('it is told', () => words.includes('serval-ca does not name yet'));
    expect(() => serial()).toThrow();
    signer.publish(one.cert + two.cert);
    await waiting;
    expect(isBy(two)).toBe(true);
  });

  it('that has ended when it comes is not asked for without a pause', async () => {
    signer.answer = signedBy(one, 1);
    const end = new AbortController();
    const waiting = keep({ signal: end.signal });
    await until('it is told', () => words.includes('it has ended already'));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(signer.requests.size).toBeLessThan(60);
    end.abort();
    await expect(waiting).rejects.toThrow();
  });

  it('that is not valid yet by the clock of the node is waited for', async () => {
    const clock = { ...systemClock, date: () => new Date(Date.now() - dayMs) };
    const end = new AbortController();
    const waiting = keep({ signal: end.signal, clock });
    await until('it is told', () => words.includes('it is not valid yet'));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(signer.requests.size).toBe(1);
    end.abort();
    await expect(waiting).rejects.toThrow();
  });

  it('of another node is not used', async () => {
    signer.answer = signedBy(one, 30 * dayMs, 'n2');
    const end = new AbortController();
    const waiting = keep({ signal: end.signal });
    await until('it is told', () => words.includes('the certificate is of n2'));
    expect(() => serial()).toThrow();
    end.abort();
    await expect(waiting).rejects.toThrow();
  });

  it.each(['', 'nonsense', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'])(
    'is trusted as before when the list of authorities is %j',
    async (text) => {
      await keep();
      const before = serial();
      signer.publish(text);
      await until('it is told', () => words.includes('can not be used'));
      expect(readFileSync(join(dir, 'ca.crt'), 'utf8')).toBe(one.cert);
      expect(serial()).toBe(before);
    },
  );

  it('on disk that is another node’s is replaced', async () => {
    await (await keep()).close();
    const log = makeLog({ level: 'silent', base: {} });
    const other = await keepCertificate({
      client: signer.client,
      node: 'n3',
      dir,
      caNamespace: 'sys',
      log,
      times,
    });
    kept.push(other);
    expect(Credentials.load(other.files).current.node).toBe('n3');
  });
});
