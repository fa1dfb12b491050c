/** Who is let in, who is not, and how certificates change under way. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import type { ServalError } from '@serval/api';
import { nodeUri } from '@serval/kube-runtime';
import type { Endpoint } from '../datapath/types.js';
import type { Abort } from '../protocol/messages.js';
import { issueNode, makeAuthority, retireAuthorities, rotateAuthority } from './certificates.js';
import type { SignallingClient } from './client.js';
import { Cluster, until } from './cluster.fixture.js';
import { encodeMessage } from './codec.js';
import { Credentials } from './credentials.js';
import type { CertificateFault } from './identity.js';
import { post, rawSession } from './raw.fixture.js';
import type { SignallingServer } from './server.js';

const abort: Abort = { kind: 'abort', migration: '0123456789abcdef' };
const dayMs = 86_400_000;
const rejected = (code: string, details: object = {}) =>
  expect.objectContaining({ code, details: expect.objectContaining(details) });

let cluster: Cluster;
let server: SignallingServer;
let address: Endpoint;
let serverCredentials: Credentials;
beforeEach(async () => {
  cluster = await Cluster.make();
  ({ server, address, credentials: serverCredentials } = await cluster.server('b'));
});
afterEach(() => cluster.end());

/** Credentials made at another time than now. */
async function issuedAt(offsetMs: number, node: string, days: number): Promise<Credentials> {
  const clock = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + offsetMs);
  try {
    await issueNode(cluster.dir, node, { days, replace: true });
  } finally {
    clock.mockRestore();
  }
  return Credentials.load(cluster.files(node));
}

/** Of another authority, or of itself, but with this cluster's ca.crt. */
async function foreign(node: string): Promise<Credentials> {
  const dir = join(cluster.dir, 'foreign');
  await makeAuthority(dir, { replace: true });
  await issueNode(dir, node);
  return Credentials.load({ ...cluster.files(node, dir), ca: join(cluster.dir, 'ca.crt') });
}

describe('certificates that clients show', () => {
  async function isRefused(credentials: Credentials, fault: CertificateFault): Promise<void> {
    const client = await cluster.client('x', { credentials });
    await expect(client.request('b', address, abort)).rejects.toEqual(rejected('ERR_CERTIFICATE', { fault }));
    await expect(client.warm('b', address)).rejects.toEqual(rejected('ERR_CERTIFICATE', { fault }));
    expect(server.counters().refusedCertificates[fault]).toBeGreaterThan(0);
    expect(cluster.heard).toEqual([]);
  }

  it('are taken where they are right, and name the sender', async () => {
    const client = await cluster.client('node-7.rack-2');
    await client.warm('b', address);
    expect(await client.request('b', address, abort)).toEqual({ ok: true });
    expect(cluster.heard).toEqual([{ from: 'node-7.rack-2', message: abort }]);
    expect(server.counters()).toMatchObject({ sessions: 1, admitted: 1, messages: 1, failedHandshakes: 0 });
  });

  it('are refused when they have expired', async () =>
    isRefused(await issuedAt(-2 * dayMs, 'a', 1), 'expired'));
  it('are refused when they are not valid yet', async () =>
    isRefused(await issuedAt(dayMs, 'a', 1), 'notYetValid'));
  it('are refused when another authority issued them', async () =>
    isRefused(await foreign('a'), 'unknownAuthority'));

  it.each<[string, () => Promise<{ cert?: string; key?: string }>, CertificateFault]>([
    ['there is none', () => Promise.resolve({}), 'absent'],
    ['they are self-made', selfMade, 'selfMade'],
    ['they are the authority’s own', () => Promise.resolve(authority()), 'unusable'],
  ])('are refused when %s', async (_, make, fault) => {
    const session = rawSession(address, await make());
    const answer = await post(session, '/v1/message', encodeMessage(abort));
    expect(answer.status).toBeUndefined();
    expect(server.counters().refusedCertificates).toMatchObject({ [fault]: 1 });
    expect(cluster.heard).toEqual([]);
    session.destroy();
  });

  it('are looked at again with each request', async () => {
    const client = await cluster.client('a', { credentials: await issuedAt(0, 'a', 1) });
    expect(await client.request('b', address, abort)).toEqual({ ok: true });
    const clock = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 2 * dayMs);
    // The client's own view of the server's certificate, good for a year, has not changed.
    await expect(client.request('b', address, abort)).rejects.toEqual(
      rejected('ERR_CERTIFICATE', { fault: 'expired' }),
    );
    clock.mockRestore();
    expect(server.counters().sessions).toBe(0);
  });

  it('make a request that was recorded visible as the one who sent it again', async () => {
    const recorded = encodeMessage(abort);
    for (const node of ['a', 'thief']) {
      const { cert, key } = (await cluster.credentials(node)).current;
      const session = rawSession(address, { cert, key });
      expect((await post(session, '/v1/message', recorded)).status).toBe(200);
      session.destroy();
    }
    expect(cluster.heard.map(({ from }) => from)).toEqual(['a', 'thief']);
  });
});

function authority(): { cert: string; key: string } {
  const [cert, key] = ['ca.crt', 'ca.key'].map((name) => readFileSync(join(cluster.dir, name), 'utf8'));
  return { cert: cert as string, key: key as string };
}

/** Everything is right with it, but who signed it. */
async function selfMade(): Promise<{ cert: string; key: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: ['a'] }],
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: nodeUri('a') }])],
  });
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { cert: certificate.toString('pem'), key: x509.PemConverter.encode(key, 'PRIVATE KEY') };
}

describe('certificates that servers show', () => {
  it('must be of the node that was meant', async () => {
    const client = await cluster.client('a');
    const error = await client.request('c', address, abort).catch((thrown: unknown) => thrown as ServalError);
    expect(error).toEqual(rejected('ERR_WRONG_NODE', { found: 'b' }));
    expect((error as ServalError).message).toContain('b answers there');
    expect(cluster.heard).toEqual([]);
  });

  it.each<[string, () => Promise<Credentials>, CertificateFault]>([
    ['have expired', () => issuedAt(-2 * dayMs, 'c', 1), 'expired'],
    ['are not valid yet', () => issuedAt(dayMs, 'c', 1), 'notYetValid'],
    ['are of another authority', () => foreign('c'), 'unknownAuthority'],
  ])('are refused when they %s', async (_, make, fault) => {
    const other = await cluster.server('c', { credentials: await make() });
    const client = await cluster.client('a');
    await expect(client.request('c', other.address, abort)).rejects.toEqual(
      rejected('ERR_CERTIFICATE', { fault }),
    );
    expect(cluster.heard).toEqual([]);
  });
});

describe('connections', () => {
  it('are TLS 1.3 and never resumed', async () => {
    const { cert, key } = (await cluster.credentials('a')).current;
    const connect = (more: object): Promise<TLSSocket | Error> =>
      new Promise((resolve) => {
        const socket = connectTls({
          host: address.address,
          port: address.port,
          cert,
          key,
          rejectUnauthorized: false,
          ALPNProtocols: ['h2'],
          ...more,
        });
        socket.once('secureConnect', () => resolve(socket)).once('error', resolve);
      });
    expect(await connect({ maxVersion: 'TLSv1.2' })).toMatchObject({
      code: expect.stringMatching(/PROTOCOL_VERSION/),
    });
    await until('it is counted', () => server.counters().failedHandshakes === 1);
    const first = (await connect({})) as TLSSocket;
    expect(first.getProtocol()).toBe('TLSv1.3');
    const tickets: Buffer[] = [];
    first.on('session', (ticket: Buffer) => tickets.push(ticket));
    // The server's first frames come after whatever it has to say about sessions.
    await new Promise((resolve) => first.once('data', resolve));
    const second = (await connect({ session: tickets[0] ?? first.getSession() })) as TLSSocket;
    expect(second.isSessionReused()).toBe(false);
    first.destroy();
    second.destroy();
  });

  it('that say nothing, or nonsense, are closed and counted', async () => {
    const { server: strict, address: at } = await cluster.server('s', { limits: { handshakeMs: 100 } });
    const closed = [Buffer.alloc(0), Buffer.from('GET / HTTP/1.1\r\n\r\n')].map(
      (bytes) =>
        new Promise((resolve) => {
          const socket = connectTcp(at.port, at.address);
          socket.on('error', () => undefined).on('close', resolve);
          socket.resume().write(bytes);
        }),
    );
    await Promise.all(closed);
    expect(strict.counters()).toMatchObject({ failedHandshakes: 2, sessions: 0 });
  });
});

describe('rotation', () => {
  /** Requests without a pause, from several at a time; their failures. */
  function load(client: SignallingClient): { stop: () => Promise<unknown[]>; count: () => number } {
    const failures: unknown[] = [];
    let running = true;
    let count = 0;
    const one = async (): Promise<void> => {
      while (running) {
        await client.request('b', address, abort).catch((error: unknown) => failures.push(error));
        count++;
      }
    };
    const all = Array.from({ length: 16 }, one);
    return {
      count: () => count,
      stop: async () => {
        running = false;
        await Promise.all(all);
        return failures;
      },
    };
  }

  it('of both ends’ certificates fails no request, and new connections use the new ones', async () => {
    const credentials = await cluster.credentials('a');
    const client = await cluster.client('a', { credentials });
    const requests = load(client);
    await until('it has begun', () => requests.count() > 0);
    for (let round = 0; round < 5; round++) {
      const [before, { admitted }] = [requests.count(), server.counters()];
      await issueNode(cluster.dir, 'b', { replace: true });
      serverCredentials.reload();
      await issueNode(cluster.dir, 'a', { replace: true });
      credentials.reload();
      await until(
        'it changed over',
        () => server.counters().admitted > admitted && server.counters().sessions === 1,
      );
      await until('it goes on', () => requests.count() > before + 100);
    }
    expect(await requests.stop()).toEqual([]);
    const session = rawSession(address, {});
    await new Promise((resolve) => session.once('connect', resolve));
    const shown = (session.socket as TLSSocket).getPeerX509Certificate();
    expect(shown?.toString()).toBe(readFileSync(join(cluster.dir, 'b.crt'), 'utf8'));
    session.destroy();
  });

  it('of the authority fails no request, and ends what the old one issued', async () => {
    const credentials = await cluster.credentials('a');
    const client = await cluster.client('a', { credentials });
    const late = await cluster.client('late', { credentials: await cluster.credentials('late') });
    await late.warm('b', address);
    const requests = load(client);
    await until('it has begun', () => requests.count() > 0);
    const reload = async (what: () => unknown): Promise<void> => {
      const { admitted } = server.counters();
      await what();
      serverCredentials.reload();
      credentials.reload();
      await until(
        'it changed over',
        () => server.counters().admitted > admitted && server.counters().sessions <= 2,
      );
    };
    await reload(() => rotateAuthority(cluster.dir));
    await reload(async () => {
      await issueNode(cluster.dir, 'b', { replace: true });
      await issueNode(cluster.dir, 'a', { replace: true });
    });
    await reload(() => retireAuthorities(cluster.dir));
    expect(await requests.stop()).toEqual([]);
    expect(server.counters().refusedCertificates.unknownAuthority).toBe(1);
    await expect(late.request('b', address, abort)).rejects.toEqual(rejected('ERR_CERTIFICATE'));
    expect(await client.request('b', address, abort)).toEqual({ ok: true });
  });
});
