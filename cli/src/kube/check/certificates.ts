/** Pure: whether the agents get the certificates that they ask for. */
import type { SigningRequest } from '../types.js';
import { fail, ok, someOf, type Finding } from './finding.js';

const ownSigners = 'serval.io/';
/** Whoever approves them does so within seconds. */
const patienceMs = 60_000;

/** @param accounts names of the agents' service accounts */
export function certificateFindings(
  requests: readonly SigningRequest[],
  accounts: readonly string[],
  now: number,
): Finding[] {
  const own = requests.filter(({ spec }) => {
    const [, , , account = ''] = (spec?.username ?? '').split(':');
    return (spec?.signerName ?? '').startsWith(ownSigners) || accounts.includes(account);
  });
  const named = (state: State): string[] =>
    own.filter((each) => stateOf(each, now) === state).map(({ metadata }) => metadata.name);
  const [refused, unsigned, pending] = [named('refused'), named('unsigned'), named('pending')];
  const findings = [
    ...(refused.length === 0
      ? []
      : [fail('certificates', `refused: ${someOf(refused)}`, 'See why: kubectl describe csr NAME')]),
    ...(unsigned.length === 0
      ? []
      : [
          fail(
            'certificates',
            `approved, but nobody signs them: ${someOf(unsigned)}`,
            'See whether the operator runs, and its log',
          ),
        ]),
    ...(pending.length === 0
      ? []
      : [
          fail(
            'certificates',
            `nobody has approved: ${someOf(pending)}`,
            'See whether the operator runs, and its log',
          ),
        ]),
  ];
  if (findings.length > 0) return findings;
  return [
    ok(
      'certificates',
      own.length === 0
        ? 'none are asked for at the moment'
        : `none of ${own.length} requests waits or was refused`,
    ),
  ];
}

type State = 'refused' | 'issued' | 'unsigned' | 'pending' | 'new';

function stateOf({ metadata, status = {} }: SigningRequest, now: number): State {
  const types = status.conditions?.map(({ type }) => type) ?? [];
  if (types.includes('Denied') || types.includes('Failed')) return 'refused';
  const isApproved = types.includes('Approved');
  if (isApproved && (status.certificate ?? '') !== '') return 'issued';
  if (now - Date.parse(metadata.creationTimestamp ?? '') <= patienceMs) return 'new';
  return isApproved ? 'unsigned' : 'pending';
}
