import { describe, expect, it } from '@jest/globals';
import { ServalError } from '@serval/api';
import type { RequestFacts } from '@serval/kube-runtime/x509';
import type { SigningRequest } from './kube-types.js';
import { judge, type Verdict } from './rules.js';

const account = { namespace: 'sys', name: 'agent' };
const policy = { account, certificateMs: 1_000_000 };
const nodeKey = 'authentication.kubernetes.io/node-name';
const podKey = 'authentication.kubernetes.io/pod-name';
const spec: SigningRequest['spec'] = {
  request: '',
  signerName: 'serval.io/agent',
  usages: ['server auth', 'client auth', 'digital signature'],
  username: 'system:serviceaccount:sys:agent',
  extra: { [nodeKey]: ['n1'], [podKey]: ['agent-x'] },
};
const facts: RequestFacts = {
  subject: 'CN=n1',
  names: ['url:spiffe://serval/node/n1'],
  extensions: [],
  key: 'P-256',
  isSigned: true,
};

const request = (change: Partial<SigningRequest['spec']> = {}, ...conditions: string[]): SigningRequest => ({
  metadata: { name: 'r' },
  spec: { ...spec, ...change },
  status: { conditions: conditions.map((type) => ({ type, status: 'True' })) },
});

describe('a request for a certificate', () => {
  it('is approved for the agent of its own node, and then signed', () => {
    expect(judge(request(), facts, policy)).toEqual({
      do: 'approve',
      node: 'n1',
      message: 'it is of the agent of node n1, for itself',
    });
    const sign = { do: 'sign', node: 'n1', ms: 1_000_000 };
    expect(judge(request({}, 'Approved'), facts, policy)).toEqual(sign);
    expect(judge(request({}, 'Approved'), { ...facts, subject: '' }, policy)).toEqual(sign);
  });

  it.each([
    [undefined, 1_000_000],
    [600, 600_000],
    [86_400, 1_000_000],
  ])('with expirationSeconds %p is valid for %d ms', (expirationSeconds, ms) => {
    const asked = request(expirationSeconds === undefined ? {} : { expirationSeconds }, 'Approved');
    expect(judge(asked, facts, policy)).toMatchObject({ do: 'sign', ms });
  });

  it.each<[string, SigningRequest]>([
    ['of another signer', request({ signerName: 'kubernetes.io/kubelet-serving' })],
    ['of another signer, approved', request({ signerName: 'serval.io/agents' }, 'Approved')],
    ['denied', request({}, 'Denied')],
    ['failed', request({}, 'Approved', 'Failed')],
    ['signed', { ...request({}, 'Approved'), status: { certificate: 'Li4u' } }],
  ])('%s is left alone', (_, given) => {
    expect(judge(given, facts, policy)).toEqual({ do: 'nothing' });
  });

  const wrongSpecs: Array<[reason: string, change: Partial<SigningRequest['spec']>, words: RegExp]> = [
    [
      'NotAnAgent',
      { username: 'system:serviceaccount:sys:other' },
      /was made by .*:other: .*signs for .*:sys:agent/,
    ],
    ['NotAnAgent', { username: 'system:serviceaccount:default:agent' }, /was made by/],
    ['NotAnAgent', { username: 'system:node:n1' }, /was made by/],
    ['TokenNotBound', { extra: {} }, /bound to no pod/],
    ['TokenNotBound', { extra: { [podKey]: ['a'] } }, /from Kubernetes 1.30 on/],
    ['TokenNotBound', { extra: { [podKey]: ['a'], [nodeKey]: ['n1', 'n2'] } }, /does not say/],
    [
      'OtherNode',
      { extra: { [nodeKey]: ['n2'] } },
      /names node n1, .* on node n2: an agent asks for its own/,
    ],
    ['WrongUsages', { usages: ['digital signature', 'server auth'] }, /no fewer/],
    ['WrongUsages', { usages: [...(spec.usages ?? []), 'cert sign'] }, /"cert sign"/],
    ['WrongUsages', { usages: [...(spec.usages ?? []), 'server auth'] }, /no more/],
    ['WrongUsages', { usages: [] }, /usages/],
  ];
  const wrongFacts: Array<[reason: string, change: Partial<RequestFacts>, words: RegExp]> = [
    ['WrongKey', { key: 'P-384' }, /its key is P-384/],
    ['WrongKey', { key: 'RSASSA-PKCS1-v1_5' }, /P-256/],
    ['NotSigned', { isSigned: false }, /not signed by its own key/],
    ['WrongNames', { names: [] }, /it names nothing/],
    ['WrongNames', { names: [...facts.names, 'dns:n1'] }, /"dns:n1"/],
    ['WrongNames', { names: ['dns:spiffe://serval/node/n1'] }, /a URI/],
    ['WrongNames', { names: ['url:spiffe://other/node/n1'] }, /"url:spiffe:\/\/other/],
    ['WrongNames', { names: ['url:spiffe://serval/node/N1'] }, /serval\/node\/N1/],
    ['WrongNames', { names: ['url:spiffe://serval/node/n1/..'] }, /names/],
    ['WrongSubject', { subject: 'CN=n1, O=system:masters' }, /"CN=n1, O=system:masters"/],
    ['WrongSubject', { subject: 'CN=n2' }, /subject/],
    ['WrongExtensions', { extensions: ['2.5.29.19'] }, /"2.5.29.19"/],
  ];
  const cases: Array<[string, SigningRequest['spec'], RequestFacts | ServalError, RegExp]> = [
    ...wrongSpecs.map(([reason, change, words]): (typeof cases)[0] => [
      reason,
      { ...spec, ...change },
      facts,
      words,
    ]),
    ...wrongFacts.map(([reason, change, words]): (typeof cases)[0] => [
      reason,
      spec,
      { ...facts, ...change },
      words,
    ]),
    [
      'Unreadable',
      spec,
      new ServalError('ERR_BAD_INPUT', { subject: 'x', reason: 'no PEM', remedy: '' }),
      /no PEM/,
    ],
  ];
  it.each(cases)('is denied as %s (%#), and never signed', (reason, changed, read, words) => {
    const verdicts: Verdict[] = [
      judge(request(changed), read, policy),
      judge(request(changed, 'Approved'), read, policy),
    ];
    expect(verdicts).toMatchObject([
      { do: 'deny', reason },
      { do: 'fail', reason },
    ]);
    for (const verdict of verdicts) expect((verdict as { message: string }).message).toMatch(words);
  });

  it('has the first 64 characters of a long name as its subject', () => {
    const node = `${'a'.repeat(63)}.${'b'.repeat(63)}`;
    const long = {
      ...facts,
      names: [`url:spiffe://serval/node/${node}`],
      subject: `CN=${node.slice(0, 64)}`,
    };
    expect(judge(request({ extra: { [nodeKey]: [node] } }), long, policy)).toMatchObject({
      do: 'approve',
      node,
    });
  });

  it('of a stranger is not repeated at length', () => {
    const names = Array.from({ length: 50 }, (_, i) => `dns:${'x'.repeat(300)}${i}`);
    const verdict = judge(request(), { ...facts, names }, policy) as { message: string };
    expect(verdict.message.length).toBeLessThan(1_024);
    expect(verdict.message).toMatch(/and 45 more/);
  });
});
