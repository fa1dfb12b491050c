/** Pure: the authority as its Secret has it. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { ServalError, type ObjectMeta } from '@serval/api';
import { certificateBlocks } from '@serval/kube-runtime';
import type { Authority, AuthorityState, Trusted } from './authority-plan.js';
import type { DataObject } from './kube-types.js';

export const secretName = 'serval-authority';

/** Times are annotations: people look at them. */
const sinceKey = 'serval.io/signs-since';
const publishedKey = 'serval.io/next-published-at';
/** Whoever sets it wants another authority. */
export const rotateKey = 'serval.io/rotate';

/** @throws ServalError ERR_CERTIFICATE: it is not overwritten, since nobody else has this key */
export function readSecret(secret: DataObject): AuthorityState {
  const { annotations = {} } = secret.metadata;
  const text = (name: string): string => Buffer.from(secret.data?.[name] ?? '', 'base64').toString();
  const next = text('next.crt') === '' ? undefined : authorityOf('next', text('next.crt'), text('next.key'));
  const publishedAt = Date.parse(annotations[publishedKey] ?? '');
  const current = authorityOf('tls', text('tls.crt'), text('tls.key'));
  const signsSince = Date.parse(annotations[sinceKey] ?? '');
  return {
    current,
    ...(Number.isNaN(signsSince) ? {} : { signsSince }),
    ...(next === undefined ? {} : { next }),
    ...(next === undefined || Number.isNaN(publishedAt) ? {} : { publishedAt }),
    previous: trustedIn(text('previous.crt')),
    isRotationWanted: annotations[rotateKey] !== undefined,
  };
}

/** Its data and annotations; those of others are left out, since they are others'. */
export function secretParts(state: AuthorityState): Pick<DataObject, 'data'> & {
  annotations: Record<string, string>;
} {
  const { current, next, previous, publishedAt, signsSince, isRotationWanted } = state;
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const stamp = (ms: number): string => new Date(ms).toISOString();
  return {
    data: {
      'tls.crt': base64(current.cert),
      'tls.key': base64(current.key),
      ...(next === undefined ? {} : { 'next.crt': base64(next.cert), 'next.key': base64(next.key) }),
      ...(previous.length === 0 ? {} : { 'previous.crt': base64(previous.map(({ cert }) => cert).join('')) }),
    },
    annotations: {
      ...(signsSince === undefined ? {} : { [sinceKey]: stamp(signsSince) }),
      ...(publishedAt === undefined ? {} : { [publishedKey]: stamp(publishedAt) }),
      ...(isRotationWanted ? { [rotateKey]: 'wanted' } : {}),
    },
  };
}

/** The Secret with another state in it. */
export function withState(secret: DataObject, state: AuthorityState): DataObject {
  const { data, annotations } = secretParts(state);
  const others = Object.entries(secret.metadata.annotations ?? {}).filter(
    ([name]) => ![sinceKey, publishedKey, rotateKey].includes(name),
  );
  const metadata: ObjectMeta = {
    ...secret.metadata,
    annotations: { ...Object.fromEntries(others), ...annotations },
  };
  return { ...secret, metadata, ...(data === undefined ? {} : { data }) };
}

/** Certificates of authorities in a text, in which anything else may stand. */
export function trustedIn(text: string): Trusted[] {
  return certificateBlocks(text).flatMap((block) => {
    try {
      const certificate = new X509Certificate(block);
      return certificate.ca ? [{ cert: `${block}\n`, until: certificate.validToDate.getTime() }] : [];
    } catch {
      return [];
    }
  });
}

export function authorityOf(name: string, cert: string, key: string): Authority {
  try {
    const certificate = new X509Certificate(cert);
    if (!certificate.ca) throw new Error(`${name}.crt is no authority's`);
    if (!certificate.checkPrivateKey(createPrivateKey(key)))
      throw new Error(`${name}.key is not the key of ${name}.crt`);
    const [from, until] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
    return { cert: `${certificateBlocks(cert)[0] ?? ''}\n`, key, from, until };
  } catch (cause) {
    throw new ServalError('ERR_CERTIFICATE', {
      subject: `Secret ${secretName}`,
      reason: `it holds no authority that could sign: ${(cause as Error).message}`,
      remedy: 'Restore it from a backup; or delete it, and another authority is made (docs/certificates.md)',
      cause,
    });
  }
}
