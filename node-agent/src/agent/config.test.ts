import { describe, expect, it } from '@jest/globals';
import { ServalError } from '@serval/api';
import { defaultDeadlines } from '../protocol/deadlines.js';
import { defaultConfigText, loadConfig, parseConfig } from './config.js';

const least = 'node: host-1\ncertificates: {ca: /c/ca.crt, cert: /c/h.crt, key: /c/h.key}\n';

function refusal(text: string): ServalError {
  try {
    parseConfig(text, 'agent.yaml');
  } catch (error) {
    if (error instanceof ServalError) return error;
    throw error;
  }
  throw new Error('it was taken');
}

describe('parseConfig', () => {
  it('fills in the defaults', () => {
    const config = parseConfig(least, 'agent.yaml');
    expect(config).toMatchObject({ node: 'host-1', stateDir: '/var/lib/serval', logLevel: 'info' });
    expect(config.deadlines).toEqual(defaultDeadlines);
    expect(config.sandbox).toBeUndefined();
    expect(config.interference).toBeUndefined();
  });

  it('takes what is given, and the rest of a section from the defaults', () => {
    const config = parseConfig(
      `${least}deadlines: {holdingMs: 500}\nmetrics: {port: 0}\nsandbox: {create: [/x, a], remove: [/y]}`,
      'agent.yaml',
    );
    expect(config.deadlines).toEqual({ ...defaultDeadlines, holdingMs: 500 });
    expect(config.metrics).toEqual({ address: '127.0.0.1', port: 0 });
    expect(config.sandbox).toEqual({ create: ['/x', 'a'], remove: ['/y'] });
  });

  it('takes interference with chances that are not given as none', () => {
    const { interference } = parseConfig(`${least}interference: {seed: 7, lose: 0.2}`, 'agent.yaml');
    expect(interference).toEqual({ seed: 7, lose: 0.2, duplicate: 0, delay: 0, delayMs: 0 });
  });

  it('does not let one configuration leak into the next', () => {
    parseConfig(least, 'agent.yaml').deadlines.holdingMs = 1;
    expect(parseConfig(least, 'agent.yaml').deadlines).toEqual(defaultDeadlines);
  });

  it.each([
    [`${least}nodes: x`, 'nodes in agent.yaml', /no such field/, /spelling.*directory/],
    [least.replace('host-1', 'Host_1'), 'node in agent.yaml', /no name/, /host-1/],
    [least.replace('node: host-1', ''), 'node in agent.yaml', /missing/, /Set it/],
    [`${least}stateDir: relative`, 'stateDir in agent.yaml', /absolute path/, /\/var/],
    [`${least}signalling: {port: 99999}`, 'signalling.port in agent.yaml', /65535/, /./],
    [`${least}signalling: {address: host}`, 'signalling.address in agent.yaml', /no IPv4 or IPv6/, /10\./],
    [`${least}logLevel: loud`, 'logLevel in agent.yaml', /loud/, /trace, debug/],
    [`${least}sandbox: {create: []}`, 'sandbox.remove in agent.yaml', /missing/, /./],
    [`${least}interference: {lose: 0.2}`, 'interference.seed in agent.yaml', /missing/, /./],
    [`${least}interference: {seed: 1, lose: 20}`, 'interference.lose in agent.yaml', /20/, /./],
    [`${least}interference: {seed: 1, kinds: [x]}`, 'interference.kinds[0] in agent.yaml', /x/, /release/],
    [`${least}deadlines: {frozenMs: -1}`, 'deadlines.frozenMs in agent.yaml', /-1/, /./],
    [`${least}deadlines: {peerHoldMs: 10}`, 'deadlines.peerHoldMs in agent.yaml', /frozen pod/, /Raise/],
    [`${least}socket: /${'x'.repeat(120)}`, 'socket in agent.yaml', /107 bytes/, /shorter/],
    ['a: [', 'agent.yaml', /./, /YAML/],
    ['just words', 'agent.yaml', /object/, /./],
    ['', 'node in agent.yaml', /missing/, /./],
  ])('names the field, the reason and the remedy: %j', (text, subject, reason, remedy) => {
    const error = refusal(text);
    expect(error).toMatchObject({ code: 'ERR_BAD_INPUT', subject });
    expect(error.reason).toMatch(reason);
    expect(error.remedy).toMatch(remedy);
  });

  it('tells all problems at once', () => {
    expect(refusal(`${least}slots: 1\ncriu: ""`).message).toMatch(/slots.*criu/);
  });
});

it('prints defaults that it takes itself', () => {
  const config = parseConfig(defaultConfigText(), 'printed');
  expect(config).toEqual({
    ...parseConfig(least, 'agent.yaml'),
    certificates: config.certificates,
  });
});

it('says which file is not there', async () => {
  await expect(loadConfig('/nowhere/agent.yaml')).rejects.toMatchObject({
    code: 'ERR_NOT_FOUND',
    subject: '/nowhere/agent.yaml',
  });
});
