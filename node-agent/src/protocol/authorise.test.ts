import { describe, expect, it } from '@jest/globals';
import {
  hasNonce,
  isFresh,
  isOfMove,
  isOwn,
  isSource,
  isTarget,
  mayCarry,
  mayMove,
  mayPrepareTarget,
  mayRsyn,
  moveAddresses,
} from './authorise.js';
import type { PrepareTarget } from './messages.js';
import { flow, id, nodeOfNet, targetFlow, workload } from './script.fixture.js';

const nodeOf = (address: string): string | undefined => nodeOfNet[address.split('.')[2] as string];
const directory = { nodeOf, hosts: (node: string, address: string) => nodeOf(address) === node };
const prepared = { target: 't', nonce: 'right', epoch: 3 };

const prepareTarget: PrepareTarget = {
  kind: 'prepareTarget',
  migration: id,
  epoch: 1,
  workload,
  addresses: ['10.0.1.1', '10.0.9.9'],
  mover: 'criu',
  image: {},
};

describe('authorisation', () => {
  it('lets a node move what it hosts, and nothing else', () => {
    expect(mayPrepareTarget(prepareTarget, 's', directory)).toBeUndefined();
    expect(mayPrepareTarget(prepareTarget, 'p', directory)?.refusal).toBe('notAuthorised');
    expect(mayPrepareTarget({ ...prepareTarget, addresses: [] }, 's', directory)?.refusal).toBe('conflict');
    const addresses = moveAddresses([flow(1), flow(2)]);
    expect(addresses).toEqual({ now: ['10.0.1.1'], next: ['10.0.2.1'], own: ['10.0.3.1'] });
    expect(mayMove(addresses, 's', 't', directory)).toBeUndefined();
    expect(mayMove(addresses, 'q', 't', directory)?.refusal).toBe('notAuthorised');
    expect(mayMove(addresses, 's', 'q', directory)?.refusal).toBe('notAuthorised');
  });

  it('looks at every flow', () => {
    const stolen = { ...flow(2), now: { address: '10.0.4.7', port: 1 } };
    expect(mayMove(moveAddresses([flow(1), stolen]), 's', 't', directory)?.reason).toContain('10.0.4.7');
    const strange = {
      ...targetFlow(2),
      wire: { ...targetFlow(2).wire, local: { address: '10.0.2.9', port: 1 } },
    };
    expect(isOwn([targetFlow(1)], ['10.0.2.1'])).toBeUndefined();
    expect(isOwn([targetFlow(1), strange], ['10.0.2.1'])?.refusal).toBe('conflict');
  });

  it('wants the epoch to be above the last one', () => {
    expect(isFresh({ epoch: 4 }, 3)).toBeUndefined();
    expect(isFresh({ epoch: 1 }, undefined)).toBeUndefined();
    expect(isFresh({ epoch: 3 }, 3)?.refusal).toBe('staleEpoch');
  });

  it('keeps to what was agreed', () => {
    expect(isSource('s', { source: 's' })).toBeUndefined();
    expect(isSource('t', { source: 's' })?.refusal).toBe('notAuthorised');
    expect(isTarget('s', prepared)?.refusal).toBe('notAuthorised');
    expect(hasNonce('wrong', prepared)?.refusal).toBe('badNonce');
    expect(mayRsyn('t', { nonce: 'right', epoch: 3 }, prepared)).toBeUndefined();
    expect(mayRsyn('s', { nonce: 'right', epoch: 3 }, prepared)?.refusal).toBe('notAuthorised');
    expect(mayRsyn('t', { nonce: 'wrong', epoch: 3 }, prepared)?.refusal).toBe('badNonce');
    expect(mayRsyn('t', { nonce: 'right', epoch: 2 }, prepared)?.refusal).toBe('staleEpoch');
  });

  it('takes images from the source, while a pod waits for them', () => {
    expect(mayCarry('s', { source: 's', phase: 'prepared' })).toBeUndefined();
    expect(mayCarry('p', { source: 's', phase: 'prepared' })?.refusal).toBe('notAuthorised');
    for (const phase of ['making', 'restoring', 'restored', 'owner', 'done', 'givenUp'])
      expect(mayCarry('s', { source: 's', phase })?.refusal).toBe('conflict');
    expect(mayCarry('s', undefined)?.refusal).toBe('notAuthorised');
  });

  it('takes opening segments of the prepared move only', () => {
    const addresses = moveAddresses([flow(1)]);
    const here = (address: string): boolean => directory.hosts('p', address);
    expect(isOfMove(flow(9), addresses, here)).toBe(true);
    expect(isOfMove({ ...flow(9), now: { address: '10.0.1.2', port: 1 } }, addresses, here)).toBe(false);
    expect(isOfMove({ ...flow(9), next: { address: '10.0.1.2', port: 1 } }, addresses, here)).toBe(false);
    expect(isOfMove(flow(9, '10.0.4.1'), addresses, here)).toBe(false);
  });
});
