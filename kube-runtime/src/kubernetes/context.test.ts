import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadContext } from './context.js';

let folder = '';
const before = { KUBECONFIG: process.env['KUBECONFIG'], HOME: process.env['HOME'] };
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'serval-context-'));
  process.env['HOME'] = folder;
  delete process.env['KUBECONFIG'];
});
afterEach(() => {
  rmSync(folder, { recursive: true });
  for (const [name, value] of Object.entries(before))
    if (value === undefined) Reflect.deleteProperty(process.env, name);
    else process.env[name] = value;
});

function kubeconfig(name: string, context: object = {}, current = name): string {
  const file = join(folder, `${name}.yaml`);
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': current },
    clusters: [{ name, cluster: { server: `https://${name}.example` } }],
    users: [{ name, user: {} }],
    contexts: [{ name, context: { cluster: name, user: name, ...context } }],
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

describe('a kubeconfig', () => {
  it('says which server and namespace', () => {
    const file = kubeconfig('one', { namespace: 'shop' });
    expect(loadContext({ kubeconfig: file })).toMatchObject({
      ...{ server: 'https://one.example', name: 'one', namespace: 'shop', known: ['one'] },
    });
    expect(loadContext({ kubeconfig: kubeconfig('two') }).namespace).toBe('default');
  });

  it('is merged of the files in KUBECONFIG, and a context of any may be chosen', () => {
    process.env['KUBECONFIG'] = [kubeconfig('one'), join(folder, 'missing'), kubeconfig('two')].join(':');
    expect(loadContext({})).toMatchObject({ name: 'one', known: ['one', 'two'] });
    expect(loadContext({ context: 'two' }).server).toBe('https://two.example');
    process.env['KUBECONFIG'] += `:${join(folder, 'one.yaml')}`;
    expect(loadContext({}).known).toEqual(['one', 'two']);
  });

  it.each([
    [{}, /there is none: KUBECONFIG is not set/],
    [{ kubeconfig: '/nowhere' }, /kubeconfig \/nowhere: it can not be read: ENOENT/],
    [{ context: 'other', kubeconfig: 'good' }, /context other: .*no such context\. It has good/],
    [{ kubeconfig: 'bad' }, /can not be read/],
    [{ kubeconfig: 'elsewhere' }, /its context elsewhere names a cluster or user that it does not have/],
    [{ kubeconfig: 'none' }, /no current context\. Choose one with --context: none/],
  ])(
    'that can not be used is refused in words: %j',
    (options: { kubeconfig?: string; context?: string }, words) => {
      kubeconfig('good');
      kubeconfig('elsewhere', { cluster: 'gone' });
      kubeconfig('none', {}, '');
      writeFileSync(join(folder, 'bad.yaml'), '{');
      const { kubeconfig: name, ...rest } = options;
      const file = name === undefined || name.startsWith('/') ? name : join(folder, `${name}.yaml`);
      expect(() => loadContext({ ...rest, ...(file === undefined ? {} : { kubeconfig: file }) })).toThrow(
        words,
      );
    },
  );
});
