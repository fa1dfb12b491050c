import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KeyFolder } from './key-folder.js';

let dir: string;
let folder: KeyFolder;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'serval-keys-')), 'pki');
  folder = new KeyFolder(dir);
});
afterEach(() => rmSync(join(dir, '..'), { recursive: true, force: true }));

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

describe("a node's keys", () => {
  it('are readable by their owner alone, and change in one step', () => {
    const first = folder.makeKey();
    expect(folder.certificate()).toBeUndefined();
    folder.install(first.name, 'certificate 1');
    expect(folder.certificate()).toEqual({ cert: 'certificate 1', key: first.key });
    expect([dir, join(dir, first.name), folder.files.key].map(modeOf)).toEqual(['700', '700', '600']);
    const second = folder.makeKey();
    expect(second.name).not.toBe(first.name);
    expect(folder.certificate()?.key).toBe(first.key);
    folder.install(second.name, 'certificate 2');
    expect(folder.certificate()).toEqual({ cert: 'certificate 2', key: second.key });
    expect(readdirSync(dir).sort()).toEqual([second.name, 'current'].sort());
  });

  it('that were asked for before a restart are asked for again', () => {
    const key = folder.makeKey();
    expect(new KeyFolder(dir).pending()).toEqual(key);
    // Killed after the certificate was written and before it was in use.
    writeFileSync(join(dir, key.name, 'tls.crt'), 'certificate');
    expect(new KeyFolder(dir).pending()).toEqual(key);
    folder.install(key.name, 'certificate');
    expect(new KeyFolder(dir).pending()).toBeUndefined();
  });

  it('are made anew where what is there is no key, or another’s', () => {
    mkdirSync(join(dir, '0123456789abcdef'));
    expect(folder.pending()).toBeUndefined();
    writeFileSync(join(dir, '0123456789abcdef', 'tls.key'), 'half of a k');
    expect(folder.pending()).toBeUndefined();
    const { key, name } = folder.makeKey();
    writeFileSync(join(dir, '0123456789abcdef', 'tls.key'), key);
    expect(folder.pending()?.name).toBe(name);
    folder.install(name, 'certificate');
    expect(readdirSync(dir)).not.toContain('0123456789abcdef');
  });

  it('that were killed in the middle of a change leave the old one in use', () => {
    const first = folder.makeKey();
    folder.install(first.name, 'certificate 1');
    const second = folder.makeKey();
    writeFileSync(join(dir, second.name, 'tls.crt'), 'certificate 2');
    writeFileSync(join(dir, '.current.new'), 'left over');
    expect(folder.certificate()?.cert).toBe('certificate 1');
    folder.install(second.name, 'certificate 2');
    expect(folder.certificate()?.cert).toBe('certificate 2');
  });

  it('say which folder can not be used', () => {
    writeFileSync(join(dir, 'file'), '');
    expect(() => new KeyFolder(join(dir, 'file', 'pki'))).toThrow(/file\/pki: .*writable/);
  });
});
