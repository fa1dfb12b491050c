import { webcrypto, X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { certifiedNode } from '../node-identity.js';
import { issueCertificate, keyPem, makeRequest, newAuthority, newKeys, readRequest } from './index.js';
import { x509 } from './library.js';

const hourMs = 3_600_000;

describe('a request for a node’s certificate', () => {
  let key: string;
  beforeAll(async () => {
    key = await keyPem((await newKeys()).privateKey);
  });

  it('says its node, its key, and nothing else', async () => {
    const node = `${'a'.repeat(60)}.${'b'.repeat(60)}`;
    const { facts } = await readRequest(await makeRequest(key, node));
    expect(facts).toEqual({
      subject: `CN=${node.slice(0, 64)}`,
      names: [`url:spiffe://serval/node/${node}`],
      extensions: [],
      key: 'P-256',
      isSigned: true,
    });
    expect(await makeRequest(key, node)).not.toContain('PRIVATE');
  });

  it('gets a certificate for that key, which ends with its authority at the latest', async () => {
    const authority = await newAuthority(2 * hourMs);
    const { publicKey } = await readRequest(await makeRequest(key, 'n1'));
    const issue = async (ms: number): Promise<X509Certificate> =>
      new X509Certificate(
        await issueCertificate({ authority, node: 'n1', publicKey: await publicKey(), ms }),
      );
    const certificate = await issue(hourMs);
    const issuer = new X509Certificate(authority.cert);
    expect(certifiedNode(certificate.subjectAltName)).toBe('n1');
    expect(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)).toBe(true);
    expect(Math.abs(certificate.validToDate.getTime() - Date.now() - hourMs)).toBeLessThan(5_000);
    expect((await issue(100 * hourMs)).validTo).toBe(issuer.validTo);
  });

  it('tells what it asks for beside', async () => {
    const keys = await newKeys();
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      name: 'CN=n1, O=x',
      keys,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        new x509.BasicConstraintsExtension(true, 1, true),
        new x509.SubjectAlternativeNameExtension([
          { type: 'dns', value: 'n1' },
          { type: 'url', value: 'spiffe://serval/node/n1' },
        ]),
      ],
    });
    expect((await readRequest(request.toString('pem'))).facts).toMatchObject({
      subject: 'CN=n1, O=x',
      names: ['dns:n1', 'url:spiffe://serval/node/n1'],
      extensions: ['2.5.29.19'],
    });
  });

  it.each(['P-384', 'P-521'])('tells that its key is %s', async (namedCurve) => {
    const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve }, true, ['sign', 'verify']);
    const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-384' };
    const request = await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm });
    expect((await readRequest(request.toString('pem'))).facts.key).toBe(namedCurve);
  });

  it('is known not to be signed by its own key', async () => {
    const pem = await makeRequest(key, 'n1');
    const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    const last = der.length - 1;
    der[last] = (der[last] ?? 0) ^ 1;
    const forged = x509.PemConverter.encode(der, 'CERTIFICATE REQUEST');
    expect((await readRequest(forged)).facts.isSigned).toBe(false);
  });

  it.each(['', 'x', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n'])(
    'is none: %j',
    async (text) => {
      await expect(readRequest(text)).rejects.toThrow(/can not be read/);
    },
  );

  it('is one, and not two', async () => {
    const pem = await makeRequest(key, 'n1');
    await expect(readRequest(pem + pem)).rejects.toThrow(/2 blocks/);
  });
});
