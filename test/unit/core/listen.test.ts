import { describe, expect, it } from 'vitest';
import { isLoopback, parseListen } from '../../../src/core/listen.ts';

describe('an address to listen on', () => {
  it.each([
    ['127.0.0.1:9464', { host: '127.0.0.1', port: 9464 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['[::1]:65535', { host: '::1', port: 65_535 }],
    ['0.0.0.0:80', { host: '0.0.0.0', port: 80 }],
  ])('%s', (text, listen) => {
    expect(parseListen(text)).toEqual(listen);
  });

  it.each([
    '',
    '9464',
    ':9464',
    '127.0.0.1',
    '::1:9464',
    '[::1]',
    '[1.2.3.4]:1',
    'host:65536',
    'http://host:1',
    'a b:1',
  ])('"%s" is none', (text) => {
    expect(parseListen(text)).toBeNull();
  });

  it.each([
    ['127.0.0.1', true],
    ['127.9.9.9', true],
    ['::1', true],
    ['localhost', true],
    ['0.0.0.0', false],
    ['::', false],
    ['10.0.0.1', false],
    ['127.0.0.1.example.org', false],
    ['::ffff:10.0.0.1', false],
  ])('only this machine connects to %s: %s', (host, wanted) => {
    expect(isLoopback(host)).toBe(wanted);
  });
});
