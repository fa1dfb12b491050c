import { beforeAll, describe, expect, it } from '@jest/globals';
import { newAuthority, type Pair } from '@serval/kube-runtime/x509';
import type { AuthorityState } from './authority-plan.js';
import { authorityOf, readSecret, trustedIn, withState } from './authority-secret.js';
import type { DataObject } from './kube-types.js';

const day = 86_400_000;
const empty: DataObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'serval-authority', annotations: { theirs: 'x' }, resourceVersion: '7' },
};
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe("the authority's Secret", () => {
  let one: Pair;
  let two: Pair;
  beforeAll(async () => {
    [one, two] = await Promise.all([newAuthority(day), newAuthority(2 * day)]);
  });

  it('gives back what was put into it, and leaves what is others’', () => {
    const state: AuthorityState = {
      current: authorityOf('tls', one.cert, one.key),
      signsSince: 1_000,
      next: authorityOf('next', two.cert, two.key),
      publishedAt: 2_000,
      previous: trustedIn(two.cert),
      isRotationWanted: true,
    };
    const secret = withState(empty, state);
    expect(readSecret(secret)).toEqual(state);
    expect(secret.metadata).toMatchObject({ resourceVersion: '7', annotations: { theirs: 'x' } });
    const later: AuthorityState = { current: state.current, previous: [], isRotationWanted: false };
    const rewritten = withState(secret, later);
    expect(readSecret(rewritten)).toEqual(later);
    expect(Object.keys(rewritten.data ?? {})).toEqual(['tls.crt', 'tls.key']);
    expect(Object.keys(rewritten.metadata.annotations ?? {})).toEqual(['theirs']);
  });

  it.each<[string, (data: Record<string, string>) => void, RegExp]>([
    ['is empty', (data) => delete data['tls.crt'], /holds no authority/],
    ['has no key', (data) => delete data['tls.key'], /holds no authority/],
    ['has another key', (data) => (data['tls.key'] = base64(two.key)), /tls.key is not the key of tls.crt/],
    ['has half of the next one', (data) => (data['next.crt'] = base64(two.cert)), /holds no authority/],
  ])('is not overwritten where it %s', (_, spoil, words) => {
    const data = { 'tls.crt': base64(one.cert), 'tls.key': base64(one.key) };
    spoil(data);
    expect(() => readSecret({ ...empty, data })).toThrow(words);
  });

  it('takes authorities out of any text, and nothing else', () => {
    const text = `# bundle\n${one.cert}-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n${two.cert}`;
    expect(trustedIn(text).map(({ cert }) => cert)).toEqual([one.cert, two.cert]);
  });
});
