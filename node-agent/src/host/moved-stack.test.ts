import { describe, expect, it } from '@jest/globals';
import { prepareBatch, prepareStack, restoreBatch } from './moved-stack.js';

describe('the batch for a moved stack', () => {
  it('adds the new local rule first and takes the old one away last', () => {
    const lines = prepareBatch('-4', ['10.0.1.5', '10.0.2.5']);
    expect(lines.indexOf('rule add pref 100 lookup local')).toBeLessThan(
      lines.indexOf('rule del pref 0 lookup local'),
    );
    expect(lines.at(-1)).toBe('rule del pref 0 lookup local');
    expect(lines).toContain('addr replace 10.0.2.5/32 dev lo');
    expect(lines).toContain('rule add pref 50 to 10.0.1.5 iif lo lookup main');
  });

  it('makes an IPv6 address that needs no duplicate detection and that nobody chooses', () => {
    expect(prepareBatch('-6', ['fd00::5'])).toContain(
      'addr replace fd00::5/128 dev lo nodad noprefixroute valid_lft forever preferred_lft 0',
    );
  });

  it("puts the kernel's own rule back with the last address only", () => {
    expect(restoreBatch('-4', '10.0.1.5', false).some((line) => line.includes('pref 0'))).toBe(false);
    const last = restoreBatch('-4', '10.0.1.5', true);
    expect(last[0]).toBe('rule add pref 0 lookup local');
    expect(last).toContain('rule del pref 100 lookup local');
    expect(last.at(-1)).toBe('addr del 10.0.1.5/32 dev lo');
  });

  it('refuses what is no address before it touches anything', async () => {
    await expect(prepareStack('/nonexistent', ['10.0.1.5/24'])).rejects.toMatchObject({
      code: 'ERR_BAD_INPUT',
    });
  });
});
